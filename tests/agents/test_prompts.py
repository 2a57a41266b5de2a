from __future__ import annotations

import threading
from dataclasses import dataclass
from decimal import Decimal

import pytest
from pydantic import BaseModel

from toolkit.agents import Agent, Changes
from toolkit.agents.changes import Definition
from toolkit.agents.prompts import Prompt
from toolkit.agents.sandbox import PromptEnvironment
from toolkit.errors import DefinitionError, InvalidInput
from toolkit.files import File

FILE = File(
    id="00000000-0000-7000-8000-000000000000", filename="r.pdf", content_type="application/pdf", size=1, sha256="0" * 64
)


class Vendor(BaseModel):
    name: str
    city: str | None = None


class Invoice(BaseModel):
    vendor: Vendor
    total: Decimal
    lines: list[str] = []

    @property
    def is_large(self) -> bool:
        return self.total > 1000


@dataclass(frozen=True)
class Claim:
    reason: str


def _prompt(template: str, input_type: object = None) -> Prompt:
    return Prompt(template, place="agent 'a': user_prompt", input_type=input_type)


@pytest.mark.parametrize(
    ("template", "input", "text"),
    [
        ("Read this.", "x", "Read this."),
        ("{{ input }}", "Hello", "Hello"),
        ("{{ input }}", FILE, "r.pdf"),
        ("{{ input }}", [FILE, "and this"], "r.pdf\nand this"),
        ("{{ input.total }}", Invoice(vendor=Vendor(name="Ada"), total=Decimal("1.50")), "1.50"),
        ("{{ input.vendor }}", Invoice(vendor=Vendor(name="Ada"), total=1), '{\n  "name": "Ada",\n  "city": null\n}'),
        (
            "{% for line in input.lines %}- {{ line }}\n{% endfor %}",
            Invoice(vendor=Vendor(name="A"), total=1, lines=["a", "b"]),
            "- a\n- b\n",
        ),
        ("{{ input }} & <b>", "a & b", "a & b & <b>"),
    ],
)
def test_a_prompt_is_a_template_over_the_input(template: str, input: object, text: str) -> None:
    assert _prompt(template).render(input) == text


def test_files_are_known_by_their_names() -> None:
    assert _prompt("{% for file in files %}{{ file.filename }}{% endfor %}").render("x", [FILE]) == "r.pdf"


def test_what_stands_in_the_input_is_never_read_as_a_template() -> None:
    assert _prompt("{{ input }}").render("{{ 7 * 7 }}") == "{{ 7 * 7 }}"


def test_a_syntax_error_is_found_at_definition() -> None:
    with pytest.raises(DefinitionError, match="line 2"):
        Agent("extract", model="m", user_prompt="Read\n{{ input ")


def test_an_unknown_name_is_found_at_definition() -> None:
    with pytest.raises(DefinitionError, match=r"'vendor'.*\{\{ input.vendor \}\}"):
        Agent("extract", model="m", system_prompt="For {{ vendor }}")


@pytest.mark.parametrize("template", ["{{ input.vendr }}", "{{ input.vendor.nam }}", "{% if input.totl %}{% endif %}"])
def test_an_unknown_field_is_found_at_definition_when_the_input_type_is_known(template: str) -> None:
    with pytest.raises(DefinitionError, match="has no"):
        Agent("extract", model="m", input_type=Invoice, user_prompt=template)


@pytest.mark.parametrize("template", ["{{ input.vendor.city }}", "{{ input.is_large }}", "{{ input.model_dump() }}"])
def test_fields_properties_and_methods_of_the_input_type_are_known(template: str) -> None:
    Agent("extract", model="m", input_type=Invoice, user_prompt=template)


def test_fields_of_a_dataclass_are_known() -> None:
    _prompt("{{ input.reason }}", Claim)
    with pytest.raises(DefinitionError, match="it has: reason"):
        _prompt("{{ input.amount }}", Claim)


def test_an_input_without_the_field_is_refused_in_words() -> None:
    with pytest.raises(InvalidInput, match="user_prompt does not fit the input"):
        _prompt("{{ input.vendor }}").render("text")


def test_a_template_is_sandboxed() -> None:
    with pytest.raises(InvalidInput):
        _prompt("{{ input.__class__.__mro__ }}").render("text")


@pytest.mark.parametrize(
    "given",
    [
        *("text", "<b>&", "", None, Decimal("1.10"), FILE, Claim("late")),
        Invoice(vendor=Vendor(name="Ada"), total=Decimal("1.50")),
        *(["see", FILE], [1, 2], {"a": Decimal(1)}),
    ],
)
def test_the_whole_input_reads_the_same_with_and_without_jinja(given: object) -> None:
    assert _prompt("{{ input }}").render(given) == _prompt("{{input}}").render(given)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 400000000 }}",
        "{{ 400000000 * 'a' }}",
        "{{ ['a'] * 400000000 }}",
        "{{ 9 ** 999999999 }}",
        "{{ 'a'|center(11000000) }}",
        "{% for _ in range(9999) %}{{ input * 2000 }}{% endfor %}",
        "{% set kept %}{% for _ in range(9999) %}{{ input * 2000 }}{% endfor %}{% endset %}{{ kept|length }}",
        "{% set n = namespace(x=3) %}{% for _ in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
    ],
)
def test_a_prompt_that_grows_without_bound_is_an_error(template: str) -> None:
    with pytest.raises(InvalidInput, match=r"^here does not fit the input: .*(larg|long)"):
        Prompt(template, place="here").render("a")


def test_a_constant_is_not_computed_while_a_template_is_compiled() -> None:
    assert "ABC" not in str(PromptEnvironment().compile("{{ 'abc'|upper }}", raw=True))


@pytest.mark.parametrize("template", ["{{ 2 * 3 }} {{ 'ab' * 2 }} {{ 2 ** 3 }} {{ 1.5 * 2 }}"])
def test_what_is_multiplied_within_bounds_is_written(template: str) -> None:
    assert Prompt(template, place="here").render("a") == "6 abab 8 3.0"


async def test_templates_of_a_version_are_rendered_in_a_thread_of_their_own() -> None:
    rendered = []

    class Told(BaseModel):
        @property
        def thread(self) -> str:
            rendered.append(threading.current_thread() is threading.main_thread())
            return "here"

    agent: Agent[str] = Agent("teller", model="m", user_prompt="{{ input.thread }}", input_type=Told)

    assert await Definition(agent).render(Told(), []) == ("", "here")
    changes = Changes(user_prompt="Now {{ input.thread }}")
    assert await Definition(agent, changes).render(Told(), []) == ("", "Now here")
    assert rendered == [True, False]

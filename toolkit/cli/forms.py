"""A task's form in the terminal: one question a field, in the words of the form, read like a browser's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer
from pydantic_core import to_json

if TYPE_CHECKING:
    from toolkit.files import File
    from toolkit.human import Form, FormField, Option

_LINES_END = "."


def fill_form(form: Form, *, given: Any, files: Sequence[File]) -> Any:
    """What the person at the terminal answers; ``given`` are values to keep by pressing Enter.

    Nothing is checked here: whether the answer fits is for its own type to say.
    """
    from toolkit.human import read_form

    terminal = _Terminal(files)
    known = given if isinstance(given, Mapping) else {}
    for field in form.fields:
        terminal.ask(field, known.get(field.name) if form.is_object else given)
    return read_form(form, terminal.sent, files=files)


class _Terminal:
    """Asks field by field and keeps the texts under the names that a browser would send them by."""

    def __init__(self, files: Sequence[File]) -> None:
        self.sent: dict[str, list[str]] = {}
        self._files = files

    def ask(self, field: FormField, given: Any, prefix: str = "") -> None:
        from toolkit.human import name_of

        if given is None:
            given = field.default
        name = name_of(field, prefix)
        if field.is_read_only:
            typer.echo(f"{field.label}: {_text(given)} (cannot be changed)")
            if given is not None:
                self.sent[name] = [_text(given)]
            return
        if field.help:
            typer.echo(f"  {field.help}")
        match field.widget:
            case "object":
                typer.echo(f"{field.label}:")
                self._ask_all(field.fields, given, prefix)
            case "union":
                self._ask_union(field, given, prefix, name)
            case "boolean":
                default = None if given is None else "y" if given else "n"
                answer = self._prompt(field, default, hint="y/n")
                self._keep(name, {"y": "true", "yes": "true", "n": "false", "no": "false"}.get(answer.lower(), answer))
            case "select":
                self._list(field.options)
                self._keep(name, self._chosen(field.options, self._prompt(field, _text(given))))
            case "multi_select":
                self._list(field.options)
                default = ",".join(_text(one) for one in given or [])
                answer = self._prompt(field, default, hint="several, with commas")
                self.sent[name] = [self._chosen(field.options, one.strip()) for one in answer.split(",") if one.strip()]
            case "file":
                for number, file in enumerate(self._files, 1):
                    typer.echo(f"  {number}. {file.filename}")
                answer = self._prompt(field, "", hint="a number")
                chosen = answer.isdecimal() and 0 < int(answer) <= len(self._files)
                self._keep(name, self._files[int(answer) - 1].id if chosen else answer)
            case "multi_line":
                self._keep(name, self._lines(field, _text(given)))
            case "list" | "json":
                self._keep(name, self._prompt(field, _text(given), hint="JSON"))
            case _:
                self._keep(name, self._prompt(field, _text(given), hint=field.currency or ""))

    def _ask_all(self, fields: Sequence[FormField], given: Any, prefix: str) -> None:
        known = given if isinstance(given, Mapping) else {}
        for field in fields:
            self.ask(field, known.get(field.name), prefix)

    def _ask_union(self, field: FormField, given: Any, prefix: str, name: str) -> None:
        from toolkit.human import prefix_of

        known = given if isinstance(given, Mapping) else {}
        for number, variant in enumerate(field.variants, 1):
            typer.echo(f"  {number}. {variant.label}")
        answer = self._prompt(field, _text(known.get(field.discriminator or "")))
        if answer.isdecimal() and 0 < int(answer) <= len(field.variants):
            answer = str(field.variants[int(answer) - 1].value)
        self._keep(name, answer)
        for variant in field.variants:
            if str(variant.value) == answer:
                self._ask_all(variant.fields, known, prefix_of(field, variant.value, prefix))

    def _keep(self, name: str, text: str) -> None:
        if text:
            self.sent[name] = [text]

    def _prompt(self, field: FormField, default: str | None, *, hint: str = "") -> str:
        about = [hint] if hint else []
        about += [] if field.is_required else ["may stay empty"]
        label = f"{field.label} ({', '.join(about)})" if about else field.label
        shows = bool(default)
        return str(typer.prompt(label, default=default or "", show_default=shows)).strip()

    def _lines(self, field: FormField, default: str) -> str:
        typer.echo(f"{field.label} (end with a line that has a single '{_LINES_END}')")
        if default:
            typer.echo(f"  now: {default}")
        lines = iter(lambda: str(typer.prompt("", default="", show_default=False, prompt_suffix="> ")), _LINES_END)
        return "\n".join(lines) or default

    def _list(self, options: Sequence[Option]) -> None:
        for number, option in enumerate(options, 1):
            typer.echo(f"  {number}. {option.label}")

    def _chosen(self, options: Sequence[Option], answer: str) -> str:
        """The value that a number or a value stands for; a value goes first, where values are numbers."""
        if answer in {str(option.value) for option in options} or not answer.isdecimal():
            return answer
        return str(options[int(answer) - 1].value) if 0 < int(answer) <= len(options) else answer


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value).decode()

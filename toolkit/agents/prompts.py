"""Prompts: Jinja2 templates over an agent's input, checked when the agent is defined.

A template sees two names, ``input`` and ``files``. Models are written as JSON, files by their name. The environment is
sandboxed (:mod:`toolkit.agents.sandbox`), and what stands in the input is data: it is never read as a template.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import to_json

from toolkit.errors import DefinitionError, InvalidInput
from toolkit.files import File

if TYPE_CHECKING:
    from jinja2 import Template, nodes

    from toolkit.agents.sandbox import PromptEnvironment

NAMES = frozenset({"input", "files"})
WHOLE_INPUT = "{{ input }}"
"""What an agent is asked unless it says otherwise; it means the same with and without Jinja2."""


class Prompt:
    """One template. ``place`` says whose it is, such as ``agent 'extract': user_prompt``.

    Raises:
        DefinitionError: the template has a syntax error, or reads a name or a field that does not exist.
    """

    def __init__(self, template: str, *, place: str, input_type: Any = None) -> None:
        self.template, self.place = template, place
        self.is_plain = not any(mark in template for mark in ("{{", "{%", "{#"))
        if not self.is_plain and template != WHOLE_INPUT:  # Jinja2 is loaded only for those who use it
            self._check(input_type)

    def render(self, input: Any, files: Sequence[File] = ()) -> str:
        """The text for one input.

        Raises:
            InvalidInput: the template reads something that this input does not have, or becomes too long.
        """
        if self.is_plain:
            return self.template
        if self.template == WHOLE_INPUT:
            return str(as_text(input))
        from jinja2 import TemplateError

        try:
            return _compiled(self.template).render(input=input, files=list(files))
        except TemplateError as error:
            raise InvalidInput(f"{self.place} does not fit the input: {error}") from error

    def _check(self, input_type: Any) -> None:
        from jinja2 import TemplateSyntaxError, meta

        try:
            tree = _environment().parse(self.template)
        except TemplateSyntaxError as error:
            raise DefinitionError(
                f"{self.place} is not a valid template: line {error.lineno}: {error.message}"
            ) from error
        unknown = sorted(meta.find_undeclared_variables(tree) - NAMES)
        if unknown:
            raise DefinitionError(
                f"{self.place} reads {', '.join(map(repr, unknown))}; a prompt knows 'input' and 'files', "
                f"so a field is written as {{{{ input.{unknown[0]} }}}}"
            )
        if input_type is not None:
            for path in _paths_into_input(tree):
                self._check_path(path, input_type)

    def _check_path(self, path: Sequence[str], type_: Any) -> None:
        seen = "input"
        for name in path:
            known = _fields_of(type_)
            if known is None:  # not a type whose fields we know
                return
            if name not in known and not hasattr(type_, name):
                raise DefinitionError(
                    f"{self.place} reads {f'{seen}.{name}'!r}, and {seen} has no {name!r}; it has: {', '.join(known)}"
                )
            seen, type_ = f"{seen}.{name}", known.get(name)


def as_text(value: Any) -> Any:
    """How a value is written into a prompt: models and lists as JSON, a file by its name, the rest as it prints."""
    if isinstance(value, File):
        return value.filename
    if isinstance(value, list | tuple) and any(isinstance(item, str | File) for item in value):
        return "\n".join(str(as_text(item)) for item in value)
    if isinstance(value, BaseModel | dict | list | tuple) or (is_dataclass(value) and not isinstance(value, type)):
        return to_json(value, indent=2).decode()
    return value  # an Undefined must pass, to raise when it is printed


@cache
def _environment() -> PromptEnvironment:
    from toolkit.agents.sandbox import PromptEnvironment

    return PromptEnvironment()


@lru_cache(maxsize=1024)
def _compiled(template: str) -> Template:
    return _environment().from_string(template)  # three quarters of a millisecond


def _paths_into_input(tree: nodes.Template) -> list[list[str]]:
    """Every attribute path that begins at ``input``: ``{{ input.vendor.name }}`` is ``["vendor", "name"]``."""
    from jinja2 import nodes

    found = []
    for node in tree.find_all(nodes.Getattr):
        path, inner = [node.attr], node.node
        while isinstance(inner, nodes.Getattr):
            path.insert(0, inner.attr)
            inner = inner.node
        if isinstance(inner, nodes.Name) and inner.name == "input":
            found.append(path)
    return found


def _fields_of(type_: Any) -> dict[str, Any] | None:
    """The fields of a type, with their types; None where a type has no declared ones."""
    if get_origin(type_) in (Union, types.UnionType):
        inner = [arm for arm in get_args(type_) if arm is not type(None)]
        return _fields_of(inner[0]) if len(inner) == 1 else None
    if not isinstance(type_, type):
        return None
    if issubclass(type_, BaseModel):
        return {name: field.annotation for name, field in type_.model_fields.items()}
    if is_dataclass(type_):
        return {field.name: field.type for field in fields(type_)}
    return None

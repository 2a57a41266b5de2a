"""Questions that are put together while a workflow runs: what ``ask`` asks, and how an answer to it is checked.

A question is stored as the input of its task, so that whichever process takes the answer knows what must fit.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit.errors import DefinitionError
from toolkit.files import File
from toolkit.human.human import Human

PREFIX = "ask."

Kind = Literal["text", "boolean", "number", "money", "date", "select", "multi_select", "file", "form"]


class AskedQuestion(BaseModel):
    """One question, and the limits of its answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    label: str
    help: str = ""
    is_multi_line: bool = False
    shortest: int | None = None
    longest: int | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    decimal_places: int | None = None
    currency: str | None = None
    earliest: date | None = None
    latest: date | None = None
    options: tuple[tuple[str, str], ...] = ()
    """Values with their labels, in order."""
    model: str | None = None
    """Of a form: ``module:name`` of the class that the answer must fit."""


def human_of(question: AskedQuestion, *, timeout: timedelta | None = None) -> Human[AskedQuestion, Any]:
    """The human task that asks ``question``.

    Raises:
        DefinitionError: the question has no label, or the model of a form cannot be found by others.
    """
    return AskedHuman(
        PREFIX + question.kind,
        title=question.label,
        description=question.help or None,
        input_type=AskedQuestion,
        output_type=_answer_type(question),
        timeout=timeout,
    )


def asked_again(name: str, input_json: str) -> Human[AskedQuestion, Any] | None:
    """The human task that asked the question on record; ``None`` where it was none of these or its model is gone."""
    if not name.startswith(PREFIX):
        return None
    return _asked_again(input_json)


@lru_cache(maxsize=256)
def _asked_again(input_json: str) -> Human[AskedQuestion, Any] | None:
    try:
        return human_of(AskedQuestion.model_validate_json(input_json))
    except (ValidationError, DefinitionError):
        return None


def place_of_model(model: type[BaseModel]) -> str:
    """``module:name``, by which another process of the same application finds ``model``.

    Raises:
        DefinitionError: it is written inside a function, where nobody else finds it.
    """
    place = f"{model.__module__}:{model.__qualname__}"
    if _loaded_model(place) is not model:
        raise DefinitionError(
            f"ask.form was given {model.__qualname__!r} of {model.__module__!r}, which cannot be found under that name "
            "by the process that takes the answer; write the class at the top of a module"
        )
    return place


class AskedHuman(Human[AskedQuestion, Any]):
    """A human task whose name is not an author's."""


def _answer_type(question: AskedQuestion) -> Any:
    extra: dict[str, Any] = {"label": question.label}
    match question.kind:
        case "text":
            extra |= {"widget": "multi_line"} if question.is_multi_line else {}
            limits: dict[str, Any] = {"min_length": question.shortest, "max_length": question.longest}
            return Annotated[str, Field(**limits, json_schema_extra=extra)]
        case "boolean":
            return Annotated[bool, Field(json_schema_extra=extra)]
        case "number":
            limits = {"ge": question.minimum, "le": question.maximum, "decimal_places": question.decimal_places}
            return Annotated[Decimal, Field(**limits, json_schema_extra=extra)]
        case "money":
            extra |= {"widget": "money", "currency": question.currency}
            limits = {"ge": question.minimum, "le": question.maximum, "decimal_places": question.decimal_places}
            return Annotated[Decimal, Field(**limits, json_schema_extra=extra)]
        case "date":
            return Annotated[date, Field(ge=question.earliest, le=question.latest, json_schema_extra=extra)]
        case "select":
            return Annotated[_choice(question.options), Field(json_schema_extra=_labelled(question, extra))]
        case "multi_select":
            limits = {"min_length": question.shortest, "max_length": question.longest}
            chosen: Any = list.__class_getitem__(_choice(question.options))
            return Annotated[chosen, Field(**limits, json_schema_extra=_labelled(question, extra))]
        case "file":
            return Annotated[File, Field(json_schema_extra=extra)]
        case "form":
            model = _loaded_model(question.model or "")
            if model is None:
                raise DefinitionError(f"the form {question.model!r} is not defined in this process")
            return model


def _choice(options: tuple[tuple[str, str], ...]) -> Any:
    return Literal[tuple(value for value, _ in options)]


def _labelled(question: AskedQuestion, extra: Mapping[str, Any]) -> dict[str, Any]:
    return {**extra, "enum_labels": dict(question.options)}


def _loaded_model(place: str) -> type[BaseModel] | None:
    """A model of a module that is loaded already: nothing is imported because a stored text says so."""
    module, _, names = place.partition(":")
    found: Any = sys.modules.get(module)
    for name in names.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None

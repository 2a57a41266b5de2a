"""The arguments of an author's function as one JSON object, by parameter name, and its result."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NotRequired, get_type_hints

from typing_extensions import TypedDict

from toolkit.errors import DefinitionError, InvalidInput
from toolkit.serialization import Codec, codec_for

UNSAID: Any = object()
"""Stands for an option that a caller has not given; ``None`` may be an argument."""


def annotated(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function whose annotations hold for ``function``: what is inside a partial, the ``__call__`` of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    is_itself = inspect.isroutine(function) or inspect.isclass(function) or hasattr(function, "__wrapped__")
    return function if is_itself else type(function).__call__


def own_name(function: Callable[..., Any], *, what: str) -> str:
    """The name of ``function``, which is ``what``.

    Raises:
        DefinitionError: it has none, as a partial.
    """
    name: str | None = getattr(function, "__name__", None)
    if name is None:
        raise DefinitionError(f"{what} of {function!r} has no name of its own; give it one with name=")
    return name


class Signature:
    """Binds, encodes and decodes the arguments of ``function``. Types are looked up when they are first needed."""

    def __init__(self, function: Callable[..., Any], *, what: str, return_type: Any = None) -> None:
        """``what`` names the thing in errors, such as ``workflow 'pay'``.

        Raises:
            DefinitionError: a parameter cannot be named in a call.
        """
        self.function = function
        self.what = what
        self._return_type = return_type
        self._signature = inspect.Signature(list(inspect.signature(function).parameters.values()))
        self._parameters = self._signature.parameters
        self._positional = [name for name, p in self._parameters.items() if p.kind is not p.KEYWORD_ONLY]
        # How many arguments say everything by their order alone; -1 where none do.
        self._plain_count = len(self._positional) if len(self._positional) == len(self._parameters) else -1
        for parameter in self._parameters.values():
            if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
                raise DefinitionError(
                    f"{what} takes {str(parameter)!r}; expected parameters that can be given by name, because its "
                    "arguments are kept by name"
                )

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The function's parameters, by name."""
        return self._parameters

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return get_type_hints(annotated(self.function), include_extras=True)
        except NameError as error:
            raise DefinitionError(
                f"{self.what} has an annotation that cannot be resolved: {error}; import the name at module level, "
                "outside TYPE_CHECKING"
            ) from error

    @cached_property
    def arguments(self) -> Codec[dict[str, Any]]:
        """The codec of all arguments together."""
        fields = {
            name: self._hints.get(name, Any) if p.default is p.empty else NotRequired[self._hints.get(name, Any)]
            for name, p in self._parameters.items()
        }
        shape = TypedDict("Arguments", fields)  # type: ignore[misc]  # made at run time
        shape.__pydantic_config__ = {  # type: ignore[attr-defined]
            "extra": "forbid",
            "ser_json_bytes": "base64",
            "val_json_bytes": "base64",
            "ser_json_inf_nan": "strings",
        }
        return Codec(shape)

    @cached_property
    def result(self) -> Codec[Any]:
        """The codec of the result."""
        declared = self._return_type if self._return_type is not None else self._hints.get("return", Any)
        return codec_for(type(None) if declared is None else declared)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, with defaults left out.

        Raises:
            TypeError: as the function itself would raise.
        """
        if not kwargs and len(args) == self._plain_count:
            return dict(zip(self._positional, args, strict=True))
        try:
            return dict(self._signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise TypeError(f"{self.what}: {error}") from None

    def bind_beside(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], **options: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The arguments of a call that takes ``options`` besides, and those of the options that are given.

        An option that has the name of a parameter is an argument, unless the parameter has one by its place.

        Raises:
            TypeError: as the function itself would raise.
        """
        given = {name: value for name, value in options.items() if value is not UNSAID}
        placed = self._positional[: len(args)]
        own = {name: given.pop(name) for name in list(given) if name in self._parameters and name not in placed}
        return self.bind(args, {**kwargs, **own} if own else kwargs), given

    def encode(self, arguments: dict[str, Any]) -> str:
        """The bound arguments as JSON text."""
        return self.arguments.encode(arguments) if arguments else "{}"

    def encode_to_compare(self, arguments: dict[str, Any]) -> str:
        """The bound arguments as JSON text that nobody is handed again, only compared and shown."""
        return self.arguments.encode_to_compare(arguments) if arguments else "{}"

    def digest(self, text: str) -> str:
        """By what arguments that were encoded to ``text`` are told from others, in any process."""
        if self._parameters and self.arguments.holds_sets:  # then the order of lists does not count
            text = json.dumps(_in_one_order(json.loads(text)))
        return hashlib.sha256(text.encode()).hexdigest()

    def decode(self, text: str) -> dict[str, Any]:
        """The arguments of JSON text made by :meth:`encode`."""
        return self.arguments.decode(text) if self._parameters else {}

    def parse(self, value: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
        """The arguments of a caller's JSON object.

        Raises:
            InvalidInput: with one entry a field.
        """
        if isinstance(value, str | bytes):
            return self.arguments.parse_json(value)
        if not isinstance(value, Mapping):
            raise InvalidInput(
                f"{self.what} takes a JSON object with its arguments by name, found {type(value).__name__}",
                errors=[{"loc": "", "msg": "expected a JSON object", "type": "dict_type"}],
            )
        return self.arguments.parse(dict(value))

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments as one object."""
        schema = self.arguments.schema()
        schema["title"] = getattr(self.function, "__name__", self.what)
        return schema


def _in_one_order(value: Any) -> Any:
    if isinstance(value, list):
        return sorted((_in_one_order(item) for item in value), key=json.dumps)
    if isinstance(value, dict):
        return {name: _in_one_order(value[name]) for name in sorted(value)}
    return value

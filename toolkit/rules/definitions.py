"""The decorator :func:`rule` and what it makes of a function."""

from __future__ import annotations

import hashlib
import inspect
import typing
from collections.abc import Callable, Coroutine, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from pydantic import BaseModel

from toolkit.errors import ConfigurationError, DefinitionError, InvalidInput, RuleEvaluationError, WrongContext
from toolkit.rules.contract import Contract, In, Out
from toolkit.rules.decisions import Choice, decide_apart, decide_many_apart
from toolkit.serialization import codec_for
from toolkit.workflows import current_run, resource, run_step, step_context

if TYPE_CHECKING:
    from toolkit.rules.explanations import Explanation
    from toolkit.rules.service import RuleService

OnNoMatch = Literal["error", "default"]
OnError = Literal["raise", "default"]
Pin = Literal["run", "latest"]


class Rule(Generic[In, Out]):
    """A decision: a function as the default and the specification, and overrides that others may put in its place.

    ``await rule(input)`` is a step of kind ``rule`` inside a run and a plain evaluation outside of one.
    """

    def __init__(
        self,
        function: Callable[[In], Out],
        *,
        name: str,
        description: str | None,
        input_type: type[In],
        output_type: type[Out],
        on_no_match: OnNoMatch,
        on_error: OnError,
        pin: Pin,
        needs_second_person: bool = False,
    ) -> None:
        self.name, self.description = name, description
        self.input_type, self.output_type = input_type, output_type
        self.on_no_match, self.on_error, self.pin = on_no_match, on_error, pin
        self.needs_second_person = needs_second_person
        self.contract = Contract(name, input_type, output_type)
        self._function = function
        self.__name__, self.__doc__, self.__module__ = function.__name__, function.__doc__, function.__module__
        self.__wrapped__ = function

    def __repr__(self) -> str:
        return f"<rule {self.name!r} of {self.place}>"

    @property
    def place(self) -> str:
        """Where the function stands, for messages."""
        code = getattr(self._function, "__code__", None)
        line = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
        return f"{self._function.__module__}.{self._function.__qualname__}{line}"

    def decide(self, input: In) -> Out:
        """What the plain function says, whatever is active."""
        return self._function(input)

    def __call__(self, input: In) -> Coroutine[None, None, Out]:
        """Decide ``input``. In a run, what was decided is kept, and so is which version decided.

        Raises:
            InvalidInput: the input is no instance of the input model.
            RuleEvaluationError: an override could not decide, and the function does not step in.
        """
        return self._call(input)

    async def _call(self, input: In) -> Out:
        self._check(input)

        async def body() -> Out:
            output = await decide_apart(self, await self._choose(), input, _details())
            self._show_shadow(input, output)
            return output

        codec = codec_for(self.input_type)
        return await run_step(
            name=self.name,
            kind="rule",
            body=body,
            result=codec_for(self.output_type),
            arguments=codec.encode_to_compare(input) if current_run() is not None else None,
            display_name=self.description,
            adopt=self._adopt,
            decode=codec.decode,
        )

    @overload
    async def batch(self, inputs: Sequence[In], return_exceptions: Literal[False] = False) -> list[Out]: ...
    @overload
    async def batch(self, inputs: Sequence[In], return_exceptions: Literal[True]) -> list[Out | Exception]: ...
    @overload
    async def batch(self, inputs: Sequence[In], return_exceptions: bool) -> list[Out] | list[Out | Exception]: ...

    async def batch(self, inputs: Sequence[In], return_exceptions: bool = False) -> list[Out] | list[Out | Exception]:
        """Decide many inputs in one step, by one version, in order.

        With ``return_exceptions`` an input that could not be decided has its error in its place; otherwise the first
        error is raised.
        """
        from toolkit.rules.batches import batch_codec, keep_all, restore_all

        inputs = list(inputs)
        for one in inputs:
            self._check(one)
        is_in_run = current_run() is not None

        async def body() -> Any:
            decided = await decide_many_apart(self, await self._choose(), inputs, _details())
            if not return_exceptions:
                for one in decided:
                    if isinstance(one, Exception):
                        raise one
            return keep_all(decided) if is_in_run else decided

        arguments = codec_for(list[self.input_type])  # type: ignore[name-defined]
        found = await run_step(
            name=self.name,
            kind="rule",
            body=body,
            result=batch_codec(self.output_type),
            arguments=arguments.encode_to_compare(inputs) if is_in_run else None,
            display_name=self.description,
            adopt=self._adopt,
            decode=arguments.decode,
        )
        return restore_all(found) if is_in_run else found

    async def explain(self, input: In) -> Explanation:
        """Decide ``input`` by what is active now and say why, row by row. Records nothing, and is nothing for a run.

        Raises:
            WrongContext: inside a run, where the answer would differ from replay to replay.
        """
        if current_run() is not None:
            raise WrongContext(f"{self.name}.explain() is for people, not for runs; a run awaits {self.name}(...)")
        self._check(input)
        service = _service()
        if service is not None:
            return await service.workbench.explain_input(self.name, self.contract.encode(input))
        from toolkit.rules.explanations import explain_function

        return explain_function(self, input)

    def starter_graph(self) -> dict[str, Any]:
        """A JDM graph with every field of the models and one row, to begin an override with."""
        from toolkit.rules.starter import starter_graph

        return starter_graph(self.contract)

    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of what a graph sees; decimals are numbers."""
        return self.contract.input_schema

    def output_schema(self) -> dict[str, Any]:
        """The JSON Schema of what a graph must produce; decimals are numbers."""
        return self.contract.output_schema

    @cached_property
    def code_hash(self) -> str:
        """Names the function's source in records: 16 hexadecimal digits. Nothing is decided by it."""
        try:
            source = inspect.getsource(self._function).encode()
        except OSError:  # typed into a shell, or shipped without sources
            source = self._function.__code__.co_code
        return hashlib.sha256(source).hexdigest()[:16]

    def _check(self, input: In) -> None:
        if not isinstance(input, self.input_type):
            found, wanted = type(input).__qualname__, self.input_type.__qualname__
            raise InvalidInput(f"rule {self.name!r} takes a {wanted}, found a {found}; build the {wanted} first")

    # Which version decides ----------------------------------------------------------------------------------------

    async def _choose(self) -> Choice[In, Out]:
        """What decides here. A run that pins keeps its first choice; an activation after that is for later runs."""
        service, run = _service(), current_run()
        if run is None or self.pin == "latest":
            return service.active(self.name) if service is not None else None
        for details in run.recorded_details(kind="rule", name=self.name):
            self._adopt(details)  # a sibling branch may have chosen before this one is performed again
        if self._memory_key not in run.memory:
            run.memory[self._memory_key] = service.active_version(self.name) if service is not None else None
        number = typing.cast("int | None", run.memory[self._memory_key])
        if number is None:
            return None
        _details().update(source="override", version=number)  # stays on record whatever comes of it
        if service is None:
            raise ConfigurationError(
                f"this run decided {self.name!r} by version {number} of its override before, and here is no service of "
                "rules to get it from"
            )
        try:
            return await service.override(self.name, number)
        except RuleEvaluationError as error:
            return error

    def _show_shadow(self, input: In, output: Out) -> None:
        service, step = _service(), step_context()
        if service is not None and step is not None:
            service.shadows.offer(self, input, output, run_id=step.run_id, path=step.path)

    def _adopt(self, details: dict[str, Any]) -> None:
        run = current_run()
        if run is not None and self.pin == "run" and "source" in details:
            run.memory.setdefault(self._memory_key, details.get("version"))

    @property
    def _memory_key(self) -> str:
        return f"rule:{self.name}"


def _service() -> RuleService | None:
    from toolkit.rules.service import RuleService

    return resource(RuleService)


def _details() -> dict[str, Any]:
    context = step_context()
    return context.details if context is not None else {}


# The decorator ----------------------------------------------------------------------------------------------------


@overload
def rule(function: Callable[[In], Out], /) -> Rule[In, Out]: ...
@overload
def rule(
    name: str | None = None,
    *,
    description: str | None = None,
    on_no_match: OnNoMatch = "error",
    on_error: OnError = "raise",
    pin: Pin = "run",
    needs_second_person: bool = False,
) -> Callable[[Callable[[In], Out]], Rule[In, Out]]: ...


def rule(
    name: Any = None,
    *,
    description: str | None = None,
    on_no_match: OnNoMatch = "error",
    on_error: OnError = "raise",
    pin: Pin = "run",
    needs_second_person: bool = False,
) -> Any:
    """Make a rule of a plain function from one Pydantic model to one Pydantic model.

    ``on_no_match`` and ``on_error`` say what happens when an override matches no row or fails: an error, or the
    function decides (``"default"``) and the record says so. With ``pin="run"`` a run uses one version from its first
    use of the rule on; with ``"latest"`` each evaluation takes what is active. With ``needs_second_person`` nobody
    activates what they uploaded themselves.

    Raises:
        DefinitionError: the function or an option cannot make a rule.
    """
    _check_option("on_no_match", on_no_match, ("error", "default"))
    _check_option("on_error", on_error, ("raise", "default"))
    _check_option("pin", pin, ("run", "latest"))

    def decorate(function: Callable[[In], Out]) -> Rule[In, Out]:
        input_type, output_type = _models_of(function)
        return Rule(
            function,
            name=_name_of(function, name if isinstance(name, str) else None),
            description=description or _first_line(function.__doc__),
            input_type=input_type,
            output_type=output_type,
            on_no_match=on_no_match,
            on_error=on_error,
            pin=pin,
            needs_second_person=needs_second_person,
        )

    if name is None or isinstance(name, str):
        return decorate
    return decorate(name)


def _check_option(option: str, found: str, allowed: Sequence[str]) -> None:
    if found not in allowed:
        raise DefinitionError(f"@rule({option}={found!r}): expected {' or '.join(map(repr, allowed))}")


def _name_of(function: Callable[..., Any], name: str | None) -> str:
    chosen = name if name is not None else function.__name__
    if not chosen or not chosen.isascii() or not chosen.replace("_", "").replace("-", "").replace(".", "").isalnum():
        raise DefinitionError(
            f"{chosen!r} is no name for a rule; expected letters, digits, '.', '_' and '-', as in 'approval_policy'"
        )
    return chosen


def _models_of(function: Any) -> tuple[type[Any], type[Any]]:
    """The input and the output model of a function that is to be a rule."""
    if not inspect.isfunction(function):
        raise DefinitionError(f"@rule stands on a plain function, found {function!r}")
    place = f"{function.__module__}.{function.__qualname__}"
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise DefinitionError(
            f"rule {place} must be a plain 'def' that returns its decision; a rule asks nobody and waits for nothing: "
            "fetch what it needs in a step and pass it in"
        )
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) != 1 or parameters[0].kind not in {
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.POSITIONAL_ONLY,
    }:
        raise DefinitionError(
            f"rule {place} has the parameters {inspect.signature(function)}; expected exactly one, a Pydantic model"
        )
    hints = _hints_of(function, place)
    return (
        _model(hints.get(parameters[0].name), place, what=f"parameter {parameters[0].name!r}"),
        _model(hints.get("return"), place, what="return value"),
    )


def _hints_of(function: Any, place: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError as error:
        raise DefinitionError(
            f"the annotations of rule {place} cannot be read: {error}; define or import the models above the function, "
            "at the top of the module"
        ) from error


def _model(annotation: Any, place: str, *, what: str) -> type[BaseModel]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    found = "no annotation" if annotation is None else f"{annotation!r}"
    raise DefinitionError(f"the {what} of rule {place} has {found}; expected a Pydantic model (a BaseModel subclass)")


def _first_line(text: str | None) -> str | None:
    return inspect.cleandoc(text).split("\n", 1)[0] if text else None

"""Payloads that older code wrote, brought to the form that today's types read."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from toolkit.errors import SerializationError
from toolkit.workflows.failures import RunParked
from toolkit.workflows.large_values import is_stub
from toolkit.workflows.operations import StepRecord


@dataclass(frozen=True, kw_only=True)
class Upcaster:
    """``function`` turns old JSON into new JSON before it is decoded; it leaves what is new already as it is.

    It is given to the workflow that reads the payloads, ``@workflow(upcasters=[...])``, and says which it is for:
    the workflow's own ``input``, its own ``output``, the results of steps, waits, tasks and children by their names
    (``results_of``), the arguments of steps (``arguments_of``), which are compared on replay. ``versions`` limits all
    but ``output`` to runs that began with one of these versions of the workflow.
    """

    function: Callable[[Any], Any]
    input: bool = False
    output: bool = False
    results_of: Collection[str] = ()
    arguments_of: Collection[str] = ()
    versions: Collection[str | None] | None = None

    def is_for(self, version: str | None) -> bool:
        """Whether runs of this version have payloads for it."""
        return self.versions is None or version in self.versions


class Upcasters:
    """The upcasters of one workflow, applied in the order in which they were given."""

    def __init__(self, upcasters: Sequence[Upcaster], *, workflow: str) -> None:
        self._upcasters = tuple(upcasters)
        self._workflow = workflow

    def __bool__(self) -> bool:
        return bool(self._upcasters)

    def input(self, text: str, *, version: str | None) -> str:
        """The input of a run that began with ``version``.

        Raises:
            RunParked: an upcaster failed.
        """
        return self._apply(text, [u for u in self._upcasters if u.input and u.is_for(version)], what="the input")

    def output(self, text: str) -> str:
        """The result of a run of any version."""
        return self._apply(text, [u for u in self._upcasters if u.output], what="the result")

    def record(self, record: StepRecord, *, version: str | None) -> StepRecord:
        """A record of the journal of a run that began with ``version``."""
        usable = [u for u in self._upcasters if u.is_for(version)]
        if record.result is not None and not is_stub(record.result):
            results = [u for u in usable if record.name in u.results_of]
            record = record._replace(result=self._apply(record.result, results, what=f"the result at {record.path}"))
        if record.arguments is not None:
            of = [u for u in usable if record.name in u.arguments_of]
            text = self._apply(record.arguments, of, what=f"the arguments at {record.path}")
            record = record._replace(arguments=text)
        return record

    def _apply(self, text: str, upcasters: Sequence[Upcaster], *, what: str) -> str:
        if not upcasters:
            return text
        for upcaster in upcasters:
            try:
                text = json.dumps(upcaster.function(json.loads(text)))
            except Exception as error:
                name = getattr(upcaster.function, "__qualname__", repr(upcaster.function))
                raise RunParked(
                    f"{what} of a run of {self._workflow!r} could not be brought up to date\n"
                    f"  upcaster: {name}\n"
                    f"  error:    {type(error).__qualname__}: {error}\n"
                    "mend the upcaster, then release the run"
                ) from error
        return text


class _Decoder(Protocol):
    def decode(self, text: str) -> Any: ...


def decode_recorded(codec: _Decoder, text: str | None, *, what: str) -> Any:
    """The value of a payload on record.

    Raises:
        RunParked: it does not fit the type as it stands today; nothing an author may catch, because the first run had
            no such error.
    """
    try:
        return codec.decode(text or "null")
    except SerializationError as error:
        raise RunParked(
            f"{what} cannot be read any more\n"
            f"  error:    {error}\n"
            "give the new field a default, or add an upcaster to the workflow; then release the run"
        ) from error

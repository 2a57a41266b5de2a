"""What the code asks for, beside what its run has on record."""

from __future__ import annotations

from toolkit.storage import is_encoded
from toolkit.workflows.differences import describe_mismatch
from toolkit.workflows.failures import RunParked, RunUndecoded
from toolkit.workflows.operations import StepRecord, WaitRecord


def expect(recorded: StepRecord, *, kind: str, name: str) -> StepRecord:
    """What is on record, if it is what the code asks for.

    Raises:
        RunParked: it is something else, or nothing that this process can decode.
    """
    if recorded.kind != kind or recorded.name != name:
        raise mismatch(recorded, kind=kind, name=name, arguments=recorded.arguments)
    if is_encoded(recorded.result) or is_encoded(recorded.error):
        raise RunUndecoded(f"what ended the wait at {recorded.path}")
    return recorded


def mismatch(recorded: StepRecord | WaitRecord, *, kind: str, name: str, arguments: str | None) -> RunParked:
    """The code asks for something else than what is on record, which may be a wait that is open."""
    return RunParked(describe_mismatch(recorded, kind=kind, name=name, arguments=arguments))

"""Changing a workflow under live runs: ``patched`` tells those that have passed a place from those that come to it."""

from __future__ import annotations

from typing import cast

from toolkit.errors import DefinitionError, WrongContext
from toolkit.workflows.journal import PATCH
from toolkit.workflows.operations import StepRecord
from toolkit.workflows.scopes import require_scope
from toolkit.workflows.states import StepKind, StepState


async def patched(id: str) -> bool:
    """Whether this run takes the new way: true if it came to the patch ``id`` for the first time with new code.

    The answer is put on record at the first use and holds for the whole run: one that had passed the place before the
    patch existed gets ``False`` for ever, also where the same id is asked for later on. When no run of the old way is
    left (``toolkit check`` knows), delete the call and the old way together.

    Raises:
        WrongContext: outside a workflow, or inside a step, which is never replayed and needs no patch.
    """
    scope = require_scope("patched")
    if scope.step is not None:
        raise WrongContext(
            f"patched({id!r}) was called inside a step; a step is not replayed, so change it as you like"
        )
    if not id or len(id) > 200 or "/" in id:
        raise DefinitionError(f"a patch has the id {id!r}; expected 1 to 200 characters without '/'")
    execution = scope.execution
    path = f"{PATCH}{id}"
    recorded = execution.journal.get(path)
    if recorded is not None:
        return recorded.result == "true"
    await scope.begin()
    decided = cast("dict[str, bool]", execution.memory.setdefault(PATCH, {}))
    if id in decided:  # another branch has asked; its record is durable before anything that we do next
        return decided[id]
    decided[id] = is_new = not execution.journal.unread
    now = execution.moment()
    await execution.record(
        StepRecord(
            run_id=execution.run.id,
            path=path,
            name=id,
            kind=StepKind.COMPUTE,
            state=StepState.SUCCEEDED,
            started_at=now,
            ended_at=now,
            result="true" if is_new else "false",
            epoch=execution.epoch,
        )
    )
    return is_new

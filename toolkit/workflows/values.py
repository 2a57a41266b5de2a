"""Values that differ from call to call, kept as steps so that a replay sees what the first run saw."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from toolkit.serialization import codec_for
from toolkit.workflows.calls import run_step
from toolkit.workflows.scopes import Scope, require_scope
from toolkit.workflows.states import StepKind


async def now() -> datetime:
    """The moment of the first call here, aware, in UTC."""
    scope = require_scope("now")
    return await _kept(scope, "now", datetime, lambda: scope.execution.engine.runtime.clock.now())


async def uuid4() -> UUID:
    """A random UUID, the same on every replay."""
    scope = require_scope("uuid4")
    bits = scope.execution.engine.runtime.random.getrandbits
    return await _kept(scope, "uuid4", UUID, lambda: UUID(int=bits(128), version=4))


async def random() -> float:
    """A random number from 0 up to 1, the same on every replay."""
    scope = require_scope("random")
    return await _kept(scope, "random", float, lambda: scope.execution.engine.runtime.random.random())


async def _kept(scope: Scope, name: str, type_: Any, make: Any) -> Any:
    async def body() -> Any:
        return make()

    return await run_step(name=name, kind=StepKind.COMPUTE, body=body, result=codec_for(type_))

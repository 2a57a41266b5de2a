"""Values that differ from call to call, kept as steps so that a replay sees what the first run saw."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from toolkit.serialization import Codec, codec_for
from toolkit.workflows.calls import run_step
from toolkit.workflows.scopes import require_scope
from toolkit.workflows.states import StepKind

T = TypeVar("T")


async def now() -> datetime:
    """The moment of the first call here, aware, in UTC."""
    scope = require_scope("now")
    return await _kept("now", datetime, scope.execution.engine.runtime.clock.now)


async def uuid4() -> UUID:
    """A random UUID, the same on every replay."""
    bits = require_scope("uuid4").execution.engine.runtime.random.getrandbits
    return await _kept("uuid4", UUID, lambda: UUID(int=bits(128), version=4))


async def random() -> float:
    """A random number from 0 up to 1, the same on every replay."""
    scope = require_scope("random")
    return await _kept("random", float, scope.execution.engine.runtime.random.random)


async def _kept(name: str, type_: type[T], make: Callable[[], T]) -> T:
    async def body() -> T:
        return make()

    codec: Codec[T] = codec_for(type_)
    return await run_step(name=name, kind=StepKind.COMPUTE, body=body, result=codec)

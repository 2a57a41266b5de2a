"""When to try again, and how long to wait before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from toolkit.errors import DefinitionError, FatalError, RetryableError, SerializationError, SessionError, WrongContext
from toolkit.workflows.durations import LONGEST, declared_duration

Backoff = Literal["exponential", "linear"]

# No second attempt can mend these.
_FINAL = (FatalError, SerializationError, DefinitionError, WrongContext, SessionError)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a step is tried again and after how long.

    ``max_retries`` counts the attempts after the first; negative means for ever. Delays are seconds. ``exponential``
    back-off waits ``first_delay``, then ``factor`` times the last; ``linear`` waits ``first_delay`` more each time;
    ``delays`` lists them one by one, and its last holds for what comes after. None is above ``longest_delay``, and each
    is lengthened by up to ``jitter`` of itself.
    ``retry_on`` names the errors worth another attempt. ``delay_of`` may give the delay that an error itself asks for.

    Raises:
        DefinitionError: a delay is no length of time, or ``retry_on`` holds something else than exception types.
    """

    max_retries: int = 0
    first_delay: float = 1.0
    factor: float = 2.0
    longest_delay: float = 60.0
    jitter: float = 0.1
    retry_on: Sequence[type[Exception]] | type[Exception] = (Exception,)
    delay_of: Callable[[BaseException], float | None] | None = None
    backoff: Backoff = "exponential"
    delays: Sequence[float] = ()

    def __post_init__(self) -> None:
        for name, delay in (
            ("first_delay", self.first_delay),
            ("longest_delay", self.longest_delay),
            *(("delays", delay) for delay in self.delays),
        ):
            declared_duration(delay, what=f"{name}= of a RetryPolicy")
        for name, share in (("factor", self.factor), ("jitter", self.jitter)):
            if not 0 <= share < math.inf:
                raise DefinitionError(f"{name}= of a RetryPolicy is {share!r}; expected a number from 0")
        if self.backoff not in get_args(Backoff):
            raise DefinitionError(f"backoff= of a RetryPolicy is {self.backoff!r}; expected one of {get_args(Backoff)}")
        object.__setattr__(self, "retry_on", _error_types(self.retry_on))

    def delay_before(self, attempt: int) -> float:
        """Seconds to wait before ``attempt``, where 2 is the first retry. Holds no randomness.

        Raises:
            ValueError: ``attempt`` is below 2; a first attempt does not wait.

        Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        if attempt < 2:
            raise ValueError(f"attempt {attempt} does not wait; the first retry is attempt 2")
        retry = attempt - 2
        if self.delays:
            delay = self.delays[min(retry, len(self.delays) - 1)]
        elif self.backoff == "linear":
            delay = self.first_delay * (retry + 1)
        else:
            delay = self.first_delay and self.first_delay * self._factor_to(retry)
        return float(min(delay, self.longest_delay))

    def _factor_to(self, power: int) -> float:
        try:
            return self.factor ** min(power, 64)
        except OverflowError:  # the longest delay is below it
            return math.inf

    def delay_after(self, error: Exception, *, attempt: int, spread: float) -> float | None:
        """Seconds before the next attempt after ``attempt`` failed with ``error``; ``None`` gives up.

        ``spread`` is a random number between 0 and 1.
        """
        if isinstance(error, _FINAL) or not isinstance(error, cast("tuple[type[Exception], ...]", self.retry_on)):
            return None
        if 0 <= self.max_retries < attempt:
            return None
        asked = error.retry_after if isinstance(error, RetryableError) else None
        if asked is None and self.delay_of is not None:
            asked = self.delay_of(error)
        if asked is not None and math.isfinite(asked):
            return min(max(asked, 0.0), LONGEST.total_seconds())
        return min(self.delay_before(attempt + 1) * (1 + self.jitter * spread), LONGEST.total_seconds())


def _error_types(given: Any) -> tuple[type[Exception], ...]:
    types = tuple(given) if isinstance(given, Iterable) and not isinstance(given, type) else (given,)
    for each in types:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise DefinitionError(f"retry_on= of a RetryPolicy holds {each!r}; expected types of exceptions")
    return types

"""When to try again, and how long to wait before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from toolkit.errors import DefinitionError, FatalError, RetryableError, SerializationError, SessionError, WrongContext

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
    """

    max_retries: int = 0
    first_delay: float = 1.0
    factor: float = 2.0
    longest_delay: float = 60.0
    jitter: float = 0.1
    retry_on: tuple[type[Exception], ...] = (Exception,)
    delay_of: Callable[[BaseException], float | None] | None = None
    backoff: Literal["exponential", "linear"] = "exponential"
    delays: Sequence[float] = ()

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
            delay = self.first_delay * self.factor ** min(retry, 64)
        return float(min(delay, self.longest_delay))

    def delay_after(self, error: Exception, *, attempt: int, spread: float) -> float | None:
        """Seconds before the next attempt after ``attempt`` failed with ``error``; ``None`` gives up.

        ``spread`` is a random number between 0 and 1.
        """
        if isinstance(error, _FINAL) or not isinstance(error, self.retry_on):
            return None
        if 0 <= self.max_retries < attempt:
            return None
        asked = error.retry_after if isinstance(error, RetryableError) else None
        if asked is None and self.delay_of is not None:
            asked = self.delay_of(error)
        if asked is not None:
            return max(asked, 0.0)
        return self.delay_before(attempt + 1) * (1 + self.jitter * spread)

"""Keys: those of events and of idempotency that callers choose, and those that the toolkit makes for itself.

They stand in the same columns. A caller who took one of the toolkit's own could answer a task, forge the end of a run,
be given a run that it has not started or keep a retry from being made, so such keys are refused.
"""

from __future__ import annotations

from typing import Final

from toolkit.errors import InvalidInput

# The event that the end of a run leaves when somebody waits for it: this and the run's id.
RUN_ENDED: Final = "run-ended:"
# The event that hands an answer to the wait of a step kind: this and the wait's id.
ANSWERED: Final = "task:"

_OWN_EVENTS: Final = (RUN_ENDED, ANSWERED)
_OWN_IDEMPOTENCY_KEYS: Final = ("bulk:", "move:", "retry:", "schedule:")


class OwnKey(str):
    """An idempotency key that the toolkit has made, with a prefix of its own."""

    __slots__ = ()


def check_event_key(key: str) -> None:
    """Refuse a key that only the toolkit itself emits and waits for.

    Raises:
        InvalidInput: with the key's place.
    """
    prefix = next((own for own in _OWN_EVENTS if key.startswith(own)), None)
    if prefix is None:
        return
    message = (
        f"the event key {key!r} begins with {prefix!r}, which only the toolkit itself emits and waits for; choose "
        "another key. The end of a run is awaited by wait_for_completion, and a task is answered by completing it"
    )
    raise InvalidInput(message, errors=[{"loc": "key", "msg": message, "type": "reserved"}])


def check_idempotency_key(key: str | None) -> str | None:
    """``key`` as it is kept, or none.

    Raises:
        InvalidInput: it is a caller's and begins like one of the toolkit's own.
    """
    if key is None:
        return None
    if key.startswith(_OWN_IDEMPOTENCY_KEYS) and not isinstance(key, OwnKey):
        own = ", ".join(_OWN_IDEMPOTENCY_KEYS)
        message = f"found the idempotency key {key!r}; expected one that begins with none of {own}, the toolkit's own"
        raise InvalidInput(message, errors=[{"loc": "idempotency_key", "msg": message, "type": "reserved"}])
    return str(key)

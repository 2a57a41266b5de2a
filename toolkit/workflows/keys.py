"""The keys of events that are the toolkit's own."""

from __future__ import annotations

from typing import Final

from toolkit.errors import InvalidInput

# The event that the end of a run leaves when somebody waits for it: this and the run's id.
RUN_ENDED: Final = "run-ended:"
# The event that hands an answer to the wait of a step kind: this and the wait's id.
ANSWERED: Final = "task:"

_OWN: Final = (RUN_ENDED, ANSWERED)


def check_key(key: str) -> None:
    """Refuse a key that only the toolkit itself emits and waits for.

    Raises:
        InvalidInput: with the key's place.
    """
    prefix = next((own for own in _OWN if key.startswith(own)), None)
    if prefix is None:
        return
    message = (
        f"the event key {key!r} begins with {prefix!r}, which only the toolkit itself emits and waits for; choose "
        "another key. The end of a run is awaited by wait_for_completion, and a task is answered by completing it"
    )
    raise InvalidInput(message, errors=[{"loc": "key", "msg": message, "type": "reserved"}])

"""Lengths of time as authors give them, in seconds or as a ``timedelta``, and moments; checked where they are taken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from toolkit.errors import DefinitionError, InvalidInput

Duration = float | timedelta

LONGEST = timedelta(days=365_000)
"""A thousand years: from now they end at a moment that Python and both databases know."""


def duration(length: Duration, *, what: str) -> timedelta:
    """``length`` as a ``timedelta``; ``what`` names it in the error.

    Raises:
        InvalidInput: it is no number, infinite, negative, or more than a thousand years.
    """
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if not 0 <= seconds <= LONGEST.total_seconds():  # not a number is neither
        message = "expected seconds or a timedelta, from 0 to a thousand years"
        raise InvalidInput(f"{what} is {length!r}; {message}", errors=[{"loc": what, "msg": message, "type": "length"}])
    return length if isinstance(length, timedelta) else timedelta(seconds=seconds)


def declared_duration(length: Duration | None, *, what: str) -> timedelta | None:
    """Like :func:`duration`, in a declaration, where it may be left out.

    Raises:
        DefinitionError: as for :func:`duration`.
    """
    try:
        return None if length is None else duration(length, what=what)
    except InvalidInput as error:
        raise DefinitionError(str(error)) from None


def declared_limit(length: Duration | None, *, what: str) -> float | None:
    """A declared limit in seconds; negative and ``None`` mean none.

    Raises:
        DefinitionError: it is no number, infinite, or more than a thousand years.
    """
    if length is not None and (length.total_seconds() if isinstance(length, timedelta) else length) < 0:
        return None
    declared = declared_duration(length, what=what)
    return None if declared is None else declared.total_seconds()


def moment_in_utc(moment: datetime, *, what: str) -> datetime:
    """An aware ``moment`` in UTC.

    Raises:
        InvalidInput: it is naive, or lies outside the years 1 to 9999 there.
    """
    found = f"{what} must be an aware moment, found {moment!r}"
    if moment.tzinfo is None:
        raise InvalidInput(
            f"{found}; give it a time zone", errors=[{"loc": what, "msg": "expected a time zone", "type": "timezone"}]
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        message = "outside the years 1 to 9999 in UTC"
        raise InvalidInput(f"{found}, {message}", errors=[{"loc": what, "msg": message, "type": "moment"}]) from None

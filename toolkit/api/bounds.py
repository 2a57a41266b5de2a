"""Moments and versions as requests may say them: no others than both databases keep."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, AwareDatetime, Field

_LARGEST = 2**31 - 1


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a moment that lies in the years 1 to 9999 in UTC as well") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A moment with its offset."""

DueMoment = Annotated[Moment, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC))]
"""A moment from which reminders and escalations are counted, back and forth."""

VersionNumber = Annotated[int, Field(ge=1, le=_LARGEST)]
"""The number of a version."""

PathVersion = Annotated[int, Path(ge=0, le=_LARGEST)]
"""The same in an address."""

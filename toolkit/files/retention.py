"""Retention: how long files are kept, and what a check of all of them may find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase

from toolkit.files.file import FileMetadata

_LONGEST = timedelta(days=365_000)


@dataclass(frozen=True, kw_only=True)
class RetentionRule:
    """Files that fit the patterns are kept for ``keep`` after their upload; ``None`` keeps them for ever."""

    keep: timedelta | None
    content_type: str = "*"
    storage: str = "*"
    created_by: str = "*"

    def fits(self, file: FileMetadata) -> bool:
        return (
            fnmatchcase(file.content_type, self.content_type)
            and fnmatchcase(file.storage, self.storage)
            and fnmatchcase(file.created_by, self.created_by)
        )


@dataclass(frozen=True)
class Damage:
    """A file whose bytes are missing or changed."""

    file: FileMetadata
    reason: str


def shortest(rules: Sequence[RetentionRule]) -> timedelta:
    """The age below which no rule deletes anything; never one that lies before all calendars."""
    return min([_LONGEST, *(rule.keep for rule in rules if rule.keep is not None)])

"""Names that one section uses and another defines: one that nobody defines would have no effect, without a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from toolkit.errors import ConfigurationError

if TYPE_CHECKING:
    from toolkit.config.settings import Settings


def check_mentions(settings: Settings, *, place: str, hidden: set[str]) -> None:
    """See that what is named is there, quoting no value of a key in ``hidden``.

    People are not looked for: REST may add them.

    Raises:
        ConfigurationError: a key names what no other one defines.
    """
    for key, name, section, known in _mentions(settings):
        # A rule of retention may hold for several storages; the other names stand for one thing each.
        is_known = any(fnmatchcase(one, name) for one in known) if section == "file_storage" else name in known
        if not is_known:
            found = "a name that is not shown here" if key in hidden else repr(name)
            there = ", ".join(sorted(known)) or "there are none"
            raise ConfigurationError(
                f"{place}: {key!r}: found {found}, expected a key under {section}: {there}", key=key
            )


def _mentions(settings: Settings) -> Iterator[tuple[str, str, str, Iterable[str]]]:
    """Where a name stands, the name, the section that defines it, and the names that would do."""
    for index, rule in enumerate(settings.files.retention):
        yield f"files.retention.{index}.storage", rule.storage, "file_storage", settings.file_storage
    for user_id, user in settings.directory.users.items():
        for index, channel in enumerate(user.channels or ()):
            key = f"directory.users.{user_id}.channels.{index}"
            yield key, channel, "notifications.channels", settings.notifications.channels
    for model, entry in settings.ai_models.items():
        for index, other in enumerate(entry.fallback):
            key = f"ai_models.{model}.fallback.{index}"
            yield key, other, "ai_models other than itself", settings.ai_models.keys() - {model}

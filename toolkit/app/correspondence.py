"""From ``notifications`` and ``directory`` in the configuration to people and how they hear of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from toolkit.errors import ConfigurationError

if TYPE_CHECKING:
    from toolkit.config import Settings
    from toolkit.human import Courier, Directory, TaskService
    from toolkit.storage import Database


def courier_of(settings: Settings, tasks: TaskService, database: Database) -> Courier | None:
    """Who delivers messages; nobody where no channel is configured.

    Raises:
        ConfigurationError: links are wanted and nothing says where they lead, or a secret does not fit.
    """
    from toolkit.human import Courier, Template, channel_of

    wanted = settings.notifications
    if wanted.links and not wanted.base_url:
        raise ConfigurationError(
            "notifications.links is on and notifications.base_url is empty, so a link would lead nowhere; "
            "set it to the address at which people reach this installation",
            key="notifications.base_url",
        )
    if not wanted.channels:
        return None

    def now() -> float:
        return database.clock.now().timestamp()

    channels = {}
    for name, channel in wanted.channels.items():
        options = {
            key: value.get_secret_value() if isinstance(value, SecretStr) else value
            for key, value in channel.model_dump(exclude={"type"}).items()
        }
        channels[name] = channel_of(channel.type, options, now=now)
    templates: dict[str, Template] = {
        event: Template(**template.model_dump(exclude_none=True)) for event, template in wanted.templates.items()
    }
    return Courier(
        tasks,
        database,
        channels,
        base_url=wanted.base_url,
        makes_links=wanted.links,
        templates=templates,
        poll_seconds=settings.worker.poll_seconds,
    )


async def load_directory(settings: Settings, directory: Directory) -> None:
    """Take in the people, groups and substitutions of the configuration."""
    await directory.load(
        {user_id: user.model_dump() for user_id, user in settings.directory.users.items()},
        {group_id: group.model_dump() for group_id, group in settings.directory.groups.items()},
        [substitution.model_dump() for substitution in settings.directory.substitutions],
    )

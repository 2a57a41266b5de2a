"""Promise: what a configuration says has an effect, or is refused with its key and a reason."""

from pathlib import Path

import pytest

from tests.config.test_values import load, refused
from toolkit.human.courier import ASKING


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("server: {allowed_hosts: ['https://x.example.com']}", "server.allowed_hosts.0", "without a scheme or a path"),
        ("server: {allowed_hosts: ['x.example.com/']}", "server.allowed_hosts.0", "without a scheme or a path"),
        ("server: {allowed_origins: ['https://x.example.com/']}", "server.allowed_origins.0", "no slash at the end"),
        ("server: {allowed_origins: ['x.example.com']}", "server.allowed_origins.0", "scheme://host[:port]"),
        ("server: {allowed_origins: ['https://X.example.com']}", "server.allowed_origins.0", "lower case"),
        ("server: {allowed_origins: ['*']}", "server.allowed_origins.0", "scheme://host[:port]"),
        ("files: {content_types: [pdf]}", "files.content_types.0", "or a pattern such as application/pdf or image/*"),
        (
            "files: {routes: [{storage: default, content_type: pdf}]}",
            "files.routes.0.content_type",
            "such as application",
        ),
        ("files: {retention: [{days: 3, content_type: pdf}]}", "files.retention.0.content_type", "such as application"),
        (
            "files: {retention: [{days: 3, storage: default}, {days: 3, storage: nope}]}",
            "files.retention.1.storage",
            "found 'nope', expected a key under file_storage: default",
        ),
        (
            "{directory: {users: {ada: {channels: [mail]}}}, notifications: {channels: {chat: {type: slack, url: x}}}}",
            "directory.users.ada.channels.0",
            "found 'mail', expected a key under notifications.channels: chat",
        ),
        ("ai_models: {a: {model: x, fallback: [b]}}", "ai_models.a.fallback.0", "found 'b', expected a key under"),
        ("ai_models: {a: {model: x, fallback: [a]}}", "ai_models.a.fallback.0", "ai_models other than itself: there"),
        (
            "notifications: {templates: {task.opend: {text: x}}}",
            "notifications.templates.task.opend",
            "found 'task.opend', expected 'task.opened', ",
        ),
    ],
)
def test_a_value_that_would_have_no_effect_is_refused(tmp_path: Path, text: str, key: str, says: str) -> None:
    error = refused(tmp_path, text)

    assert error.key == key
    assert f"'{key}': found '" in str(error)
    assert says in str(error)


def test_names_patterns_and_people_of_elsewhere_are_taken(tmp_path: Path) -> None:
    text = """
server: {allowed_hosts: ["*", "*.example.com", "x.example.com:8443", "::1", "[::1]:80"]}
files: {content_types: ["*", image/*], retention: [{days: 1, storage: "d*"}, {days: 2}]}
directory: {users: {ada: {channels: []}}, groups: {finance: {members: [joined_later]}}}
ai_models: {a: {model: x, fallback: [b]}, b: {model: y}}
"""
    settings = load(tmp_path, text + "notifications: {templates: {task.opened: {text: x}}}")

    assert settings.ai_models["a"].fallback == ("b",)
    origins = "server: {allowed_origins: ['https://x.example.com', 'http://localhost:3000', 'http://[::1]:80']}"
    assert len(load(tmp_path, origins).server.allowed_origins) == 3


def test_a_name_from_the_environment_is_not_quoted_either(tmp_path: Path) -> None:
    error = refused(tmp_path, "files: {retention: [{days: 3, storage: '${PLACE}'}]}", PLACE="s3cret")

    assert "'files.retention.0.storage': found a name that is not shown here" in str(error)


def test_every_event_that_asks_a_person_may_have_a_template(tmp_path: Path) -> None:
    templates = ", ".join(f"{event}: {{text: x}}" for event in sorted(ASKING))

    settings = load(tmp_path, f"notifications: {{templates: {{{templates}}}}}")

    assert settings.notifications.templates.keys() == ASKING

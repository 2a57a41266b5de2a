"""A storage is a place that an operator names; what is no such place is refused by the name of its key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import ConfigurationError, NotFound
from toolkit.files import FileStorages
from toolkit.files.folders import FolderStorage


def configure(found: dict[str, Any], base_folder: Path) -> FileStorages:
    return FileStorages.from_configuration(found, base_folder=base_folder)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file://./.toolkit/files", "{base}/.toolkit/files"),
        ("file://files", "{base}/files"),
        ("file://../shared", "{parent}/shared"),
        ("file:///srv/files", "/srv/files"),
    ],
)
def test_a_folder_lies_below_the_configuration_unless_it_is_absolute(url: str, expected: str, tmp_path: Path) -> None:
    storage = configure({"default": url}, tmp_path).get()

    assert isinstance(storage, FolderStorage)
    assert str(storage.root) == os.path.realpath(expected.format(base=tmp_path, parent=tmp_path.parent))


def test_configuring_a_folder_makes_nothing(tmp_path: Path) -> None:
    configure({"default": "file://./files"}, tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "files",
        "/srv/files",
        "local:///srv/files",
        "FILE:///srv/files",
        "http://127.0.0.1/files",
        "https://example.com/files",
        "ftp://example.com/files",
        "data:,hello",
        "zip:///srv/files.zip",
        "dir:///srv/files",
        "simplecache::file:///srv/files",
        "filecache::s3://bucket/files",
        "s3://bucket::file:///srv/files",
        "reference://files",
        "github://owner:repo@main/",
        "file://",
        "file:///",
        "file://./",
        "s3://",
        "s3:///",
    ],
)
def test_a_chained_a_foreign_or_an_empty_url_is_refused_by_its_key(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        configure({"default": "memory://", "archive": url}, tmp_path)

    assert raised.value.key == "file_storage.archive"
    assert "file_storage.archive" in str(raised.value)


@pytest.mark.parametrize(
    "entry",
    [{}, {"url": 3}, {"url": "memory://", "option": {}}, {"url": "memory://", "options": "x"}, None, 3, ["memory://"]],
)
def test_an_entry_of_another_shape_is_refused(entry: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"file_storage\.default"):
        configure({"default": entry}, tmp_path)


def test_a_password_in_a_url_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        configure({"default": "ftp://user:hush-hush@example.com/files"}, tmp_path)

    assert "hush-hush" not in str(raised.value)


def test_an_option_that_the_file_system_does_not_take_is_an_error_without_its_value(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"file_storage\.default") as raised:
        configure({"default": {"url": "s3://bucket/x", "options": {"username": "ada", "key": "hush-hush"}}}, tmp_path)

    assert "hush-hush" not in str(raised.value)


def test_a_folder_takes_no_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"file_storage\.default\.options"):
        configure({"default": {"url": "file://./files", "options": {"auto_mkdir": True}}}, tmp_path)


def test_the_default_is_the_one_called_so_or_the_only_one(tmp_path: Path) -> None:
    assert configure({"main": "memory://"}, tmp_path).get().name == "main"
    both = configure({"archive": "memory://archive", "default": "memory://main"}, tmp_path)
    assert both.get().name == "default"
    assert both.get("archive").name == "archive"
    with pytest.raises(NotFound, match="archive, default"):
        both.get("elsewhere")


@pytest.mark.parametrize("found", [{}, {"a": "memory://a", "b": "memory://b"}])
def test_without_a_default_the_configuration_is_refused(found: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'default'"):
        configure(found, tmp_path)

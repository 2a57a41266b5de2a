"""Files keep bytes that outlive a process, and hand around a small reference to them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from toolkit.files.contexts import current_store, using
from toolkit.files.file import File, FileMetadata

if TYPE_CHECKING:
    from toolkit.files.detection import detect
    from toolkit.files.downloads import Delivery, disposition_of, plan_download
    from toolkit.files.names import clean_filename
    from toolkit.files.retention import Damage, RetentionRule
    from toolkit.files.storages import FileStorages, Route, Storage, StoredObject
    from toolkit.files.store import FileStore, References, Scan
    from toolkit.files.sweeper import FileSweeper
    from toolkit.files.uploads import Content, FileLimits

__all__ = [
    "Content",
    "Damage",
    "Delivery",
    "File",
    "FileLimits",
    "FileMetadata",
    "FileStorages",
    "FileStore",
    "FileSweeper",
    "References",
    "RetentionRule",
    "Route",
    "Scan",
    "Storage",
    "StoredObject",
    "clean_filename",
    "current_store",
    "detect",
    "disposition_of",
    "plan_download",
    "using",
]

# What an author's module needs, `File`, comes with Pydantic alone; the rest is loaded when it is asked for.
_LATER = {
    "disposition_of": "downloads",
    "Scan": "store",
    "Route": "storages",
    "References": "store",
    "RetentionRule": "retention",
    "FileSweeper": "sweeper",
    "Damage": "retention",
    "Content": "uploads",
    "Delivery": "downloads",
    "FileLimits": "uploads",
    "FileStorages": "storages",
    "FileStore": "store",
    "Storage": "storages",
    "StoredObject": "storages",
    "clean_filename": "names",
    "detect": "detection",
    "plan_download": "downloads",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"toolkit.files.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

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
    from toolkit.files.scanning import Scan, release, rescan
    from toolkit.files.storages import FileStorages, Route, Storage, StoredObject
    from toolkit.files.store import FileStore, References
    from toolkit.files.sweeper import FileSweeper
    from toolkit.files.upkeep import expire_files, migrate_files, sweep_orphans, verify_files
    from toolkit.files.uploads import Content, FileLimits, Upload
    from toolkit.files.values import LargeValues, StubsOf

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
    "LargeValues",
    "References",
    "RetentionRule",
    "Route",
    "Scan",
    "Storage",
    "StoredObject",
    "StubsOf",
    "Upload",
    "clean_filename",
    "current_store",
    "detect",
    "disposition_of",
    "expire_files",
    "migrate_files",
    "plan_download",
    "release",
    "rescan",
    "sweep_orphans",
    "using",
    "verify_files",
]

# What an author's module needs, `File`, comes with Pydantic alone; the rest is loaded when it is asked for.
_LATER = {
    "Content": "uploads",
    "Damage": "retention",
    "Delivery": "downloads",
    "FileLimits": "uploads",
    "FileStorages": "storages",
    "FileStore": "store",
    "FileSweeper": "sweeper",
    "LargeValues": "values",
    "References": "store",
    "RetentionRule": "retention",
    "Route": "storages",
    "Scan": "scanning",
    "Storage": "storages",
    "StoredObject": "storages",
    "StubsOf": "values",
    "Upload": "uploads",
    "clean_filename": "names",
    "detect": "detection",
    "disposition_of": "downloads",
    "expire_files": "upkeep",
    "migrate_files": "upkeep",
    "plan_download": "downloads",
    "release": "scanning",
    "rescan": "scanning",
    "sweep_orphans": "upkeep",
    "verify_files": "upkeep",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"toolkit.files.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

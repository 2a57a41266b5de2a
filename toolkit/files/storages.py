"""The storages of an installation: named places for bytes, from the configuration.

A storage is named by an operator before the process starts; nothing that comes in later names a place or a protocol.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Protocol

from toolkit.errors import ConfigurationError, NotFound, StorageError

BLOCK_BYTES: Final = 1024 * 1024
"""Bytes are moved in blocks of this size: large enough that a thread for each costs nothing, small enough to forget."""

# The file systems that keep objects. fsspec knows many more: some read what others wrote (http, data, zip), some wrap
# another (simplecache, dir) and would take a path for a URL.
_PROTOCOLS: Final = ("file", "memory", "s3", "gs", "az")
_EXTRAS: Final = {"s3": "process-toolkit[s3]", "gs": "gcsfs", "az": "adlfs"}
_DEFAULT: Final = "default"


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """What a storage lists: an object, or a folder of them."""

    key: str
    is_folder: bool
    modified_at: datetime | None
    """Aware; ``None`` where a folder has none."""


class Storage(Protocol):
    """A place for bytes. Keys are ours, of plain characters, and an object is written once.

    Every method raises ``StorageError`` when the place does not do what it must.
    """

    name: str

    async def write(self, key: str, blocks: AsyncIterable[bytes]) -> None:
        """Keep all blocks under ``key``, durably, or nothing: not if the iteration fails, nor on cancellation."""

    def read(self, key: str, *, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` to before ``end``, in chunks."""

    async def delete(self, key: str) -> None:
        """Forget ``key``, if it is there."""

    async def list_folder(self, folder: str) -> list[StoredObject]:
        """What is directly in ``folder`` (``""``: the root); nothing if there is no such folder."""

    async def end_unfinished(self, *, before: datetime) -> int:
        """Take back writes that began ``before``, never ended, and are not listed; how many there were."""

    async def sign(self, key: str, *, seconds: int, disposition: str, content_type: str) -> str | None:
        """An address under which anybody may fetch ``key`` for so long; ``None`` where that is not offered."""


async def holds(storage: Storage, key: str, *, size: int) -> bool:
    """Whether ``storage`` has an object ``key`` of ``size`` bytes, as far as it can say now."""
    if size == 0:
        return True  # nothing is read of it
    try:
        # The last byte, and one more where there is one.
        async with aclosing(storage.read(key, start=size - 1, end=size + 1)) as chunks:
            return len(await anext(chunks, b"")) == 1
    except StorageError:
        return False


@dataclass(frozen=True, kw_only=True)
class Route:
    """Which new files go to ``storage``: those whose type and name fit patterns such as ``image/*`` and ``*.csv``."""

    storage: str
    content_type: str = "*"
    filename: str = "*"

    def fits(self, *, filename: str, content_type: str) -> bool:
        return fnmatchcase(content_type, self.content_type) and fnmatchcase(filename.lower(), self.filename.lower())


class FileStorages:
    """Storages by name. New files go to the default one unless an upload names another."""

    def __init__(
        self, storages: Mapping[str, Storage], *, default: str, routes: Sequence[Route] = (), shared: str | None = None
    ) -> None:
        """``shared`` names the storage that every process of the installation reaches, wherever it runs."""
        self._storages = dict(storages)
        self.default = default
        self.routes = tuple(routes)
        self.shared = shared
        for name in (default, *(route.storage for route in self.routes), *([shared] if shared else [])):
            self.get(name)

    def __iter__(self) -> Iterator[Storage]:
        return iter(self._storages.values())

    def get(self, name: str | None = None) -> Storage:
        """The storage ``name``, or the default one.

        Raises:
            NotFound: the configuration names none like it.
        """
        try:
            return self._storages[name or self.default]
        except KeyError:
            raise NotFound("file storage", name or self.default, known=list(self._storages)) from None

    def choose(self, *, filename: str, content_type: str) -> Storage:
        """The storage for a new file: that of the first route which fits, else the default one."""
        for route in self.routes:
            if route.fits(filename=filename, content_type=content_type):
                return self.get(route.storage)
        return self.get()

    @classmethod
    def from_configuration(
        cls,
        found: Mapping[str, str | Mapping[str, Any]],
        *,
        base_folder: Path,
        key: str = "file_storage",
        routes: Sequence[Route] = (),
    ) -> FileStorages:
        """Storages from ``{"name": url}`` or ``{"name": {"url": url, "options": {...}}}``; connects to none of them.

        ``file://./folder`` lies below ``base_folder``. ``options`` go to the file system, such as ``endpoint_url`` for
        S3. The default is the storage called ``default``, or the only one; one may be ``shared``. ``key`` is the place
        in the configuration.

        Raises:
            ConfigurationError: an entry is not one of the above, its protocol is not allowed or not installed.
        """
        storages = {
            name: _create(name, entry, base_folder=base_folder, key=f"{key}.{name}") for name, entry in found.items()
        }
        if _DEFAULT not in storages and len(storages) != 1:
            names = ", ".join(map(repr, storages)) or "no storage"
            raise ConfigurationError(f"{key} holds {names}; call the one for new files 'default'", key=key)
        if unknown := sorted({route.storage for route in routes} - storages.keys()):
            raise ConfigurationError(
                f"files.routes names {', '.join(map(repr, unknown))}; expected one of {', '.join(storages)}",
                key="files.routes",
            )
        shared = [name for name, entry in found.items() if isinstance(entry, Mapping) and entry.get("shared")]
        if len(shared) > 1:
            raise ConfigurationError(f"{key} declares {', '.join(shared)} as shared; expected one at most", key=key)
        return cls(
            storages,
            default=_DEFAULT if _DEFAULT in storages else next(iter(storages)),
            routes=routes,
            shared=next(iter(shared), None),
        )


def _create(name: str, entry: str | Mapping[str, Any], *, base_folder: Path, key: str) -> Storage:
    url, options, redirects = _read_entry(entry, key=key)
    protocol, path = _split(url, key=key)
    if protocol != "file":
        return _create_bucket(name, protocol, url, options, redirects=redirects, key=key)
    if redirects:
        raise ConfigurationError(f"{key}.redirect: a folder has no addresses of its own", key=f"{key}.redirect")
    if options:
        raise ConfigurationError(f"{key}.options: a folder takes none", key=f"{key}.options")
    from toolkit.files.folders import FolderStorage

    return FolderStorage(name, base_folder / path)


def _read_entry(entry: Any, *, key: str) -> tuple[str, Mapping[str, Any], bool]:
    found = {"url": entry} if isinstance(entry, str) else entry
    if isinstance(found, Mapping) and set(found) <= {"url", "options", "redirect", "shared"}:
        url, options, redirects = found.get("url"), found.get("options") or {}, found.get("redirect", False)
        is_shared = found.get("shared", False)
        are_flags = isinstance(redirects, bool) and isinstance(is_shared, bool)
        if isinstance(url, str) and isinstance(options, Mapping) and are_flags:
            return url, options, bool(redirects)
    raise ConfigurationError(f"{key} must be a URL, or a mapping of url, options, redirect and shared", key=key)


def _split(url: str, *, key: str) -> tuple[str, str]:
    """Protocol and the rest. The URL itself is not shown in errors: it may hold a password."""
    if "::" in url:
        raise ConfigurationError(f"{key} is a chained URL; name the one place where the bytes are kept", key=key)
    protocol, separator, path = url.partition("://")
    if not separator or protocol not in _PROTOCOLS:
        shown = repr(protocol) if separator else "no protocol"
        raise ConfigurationError(
            f"{key} begins with {shown}; expected one of {', '.join(f'{known}://' for known in _PROTOCOLS)}", key=key
        )
    if protocol != "memory" and not path.strip("/."):
        raise ConfigurationError(f"{key} names no {'folder' if protocol == 'file' else 'bucket'}", key=key)
    if re.match(r"/[A-Za-z]:[\\/]", path):  # file:///C:/folder
        path = path[1:]
    return protocol, path


def _create_bucket(
    name: str, protocol: str, url: str, options: Mapping[str, Any], *, redirects: bool, key: str
) -> Storage:
    import fsspec

    from toolkit.files.buckets import BucketStorage

    try:
        filesystem, root = fsspec.core.url_to_fs(url, **{str(option): value for option, value in options.items()})
    except ImportError as error:
        raise ConfigurationError(f"{key} needs the package {_EXTRAS[protocol]!r}; install it", key=key) from error
    except (TypeError, ValueError, KeyError) as error:  # it does not take these options, whose values may be secret
        raise ConfigurationError(
            f"{key} could not be set up ({type(error).__name__}); look at its options", key=key
        ) from None
    return BucketStorage(name, filesystem, root, redirects=redirects)

"""``toolkit scaffold``: the templates in ``scaffold/``, with the names of a new application put in."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.metadata import packages_distributions
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from toolkit.errors import ConfigurationError

_NAME = re.compile(r"^[a-z][a-z0-9]*([-_][a-z0-9]+)*$")
_SUFFIX = ".tmpl"
_TAKEN = {"main", "tests", "samples", "toolkit"}


def write_application(name: str, *, into: Path) -> Path:
    """Write a new application into the folder ``name`` below ``into``; that folder.

    Raises:
        ConfigurationError: the name does not do, or there is such a folder.
    """
    package = name.replace("-", "_")
    if not _NAME.match(name):
        raise ConfigurationError(f"found the name {name!r}, expected lower-case words such as 'my-invoices'")
    folder = into / name
    if folder.exists():
        raise ConfigurationError(f"{str(folder)!r} exists already; choose another name, or remove it")
    is_known = package in _TAKEN or package in sys.stdlib_module_names or keyword.iskeyword(package)
    if is_known or package in packages_distributions():
        raise ConfigurationError(f"the package {package!r} would hide another of that name; choose another name")
    names = {"name": name, "package": package, "title": package.replace("_", " ").capitalize()}
    _write(files("toolkit.cli").joinpath("scaffold"), folder, names)
    return folder


def _write(source: Traversable, target: Path, names: dict[str, str]) -> None:
    target.mkdir()
    for entry in source.iterdir():
        if entry.is_dir():
            _write(entry, target / (names["package"] if entry.name == "_package" else entry.name), names)
        elif entry.name.endswith(_SUFFIX):
            text = re.sub(r"%\{(\w+)\}", lambda match: names[match[1]], entry.read_text("utf-8"))
            name = entry.name.removesuffix(_SUFFIX)
            # A file of this name would hide the templates beside it from git and from the builder.
            (target / (".gitignore" if name == "gitignore" else name)).write_text(text, "utf-8")

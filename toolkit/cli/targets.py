"""From what stands on the command line to the application it names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from toolkit.errors import ConfigurationError, ToolkitError

if TYPE_CHECKING:
    from toolkit.app import Toolkit


def load_application(target: str) -> Toolkit:
    """The Toolkit in ``main.py``, ``package.module`` or ``package.module:name``.

    Without a name it is ``app``, else the only Toolkit of the module.

    Raises:
        ConfigurationError: there is no such file, module or application, or importing it fails.
    """
    from toolkit.app import Toolkit

    place, _, name = target.partition(":")
    module = _load(place)
    if name:
        found = getattr(module, name, None)
        if not isinstance(found, Toolkit):
            raise ConfigurationError(f"{name!r} in {place!r} is {_described(found)}, expected a Toolkit")
        return found
    if isinstance(found := getattr(module, "app", None), Toolkit):
        return found
    candidates = {key: value for key, value in vars(module).items() if isinstance(value, Toolkit)}
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    if not candidates:
        raise ConfigurationError(f"there is no Toolkit in {place!r}; expected a line such as: app = Toolkit(title=...)")
    names = ", ".join(sorted(candidates))
    raise ConfigurationError(f"{place!r} has several applications ({names}); say which: {place}:{min(candidates)}")


def source_folder(target: str) -> Path:
    """The folder with the source of ``target``, without importing it."""
    place = target.partition(":")[0]
    if place.endswith(".py"):
        return _file(place).parent
    _let_import_from(Path.cwd())
    found = importlib.util.find_spec(place.partition(".")[0])
    if found is None or found.origin is None:
        return Path.cwd()
    return Path(found.origin).resolve().parent


def _load(place: str) -> ModuleType:
    if place.endswith(".py"):
        path = _file(place)
        # As `python main.py` would have it, what lies beside the file can be imported; so can what lies here.
        _let_import_from(Path.cwd())
        _let_import_from(path.parent)
        name = path.stem
    else:
        _let_import_from(Path.cwd())
        name = place
    try:
        module = importlib.import_module(name)
    except ToolkitError:
        raise
    except Exception as error:  # an author's module may raise anything
        raise ConfigurationError(f"importing {place!r} failed{_last_place(error)}: {_sentence(error)}") from error
    if place.endswith(".py") and Path(str(module.__file__)).resolve() != path:
        raise ConfigurationError(f"{place!r} has the name of another module, {module.__file__}; rename the file")
    return module


def _file(place: str) -> Path:
    path = Path(place).resolve()
    if not path.is_file():
        raise ConfigurationError(f"there is no file {place!r}; name a file with a Toolkit, or module:name")
    return path


def _let_import_from(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"


def _last_place(error: Exception) -> str:
    """The last line of the author's own code on the way to the error."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_authors(frame.filename)]
    return f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _is_authors(filename: str) -> bool:
    return not filename.startswith("<frozen") and filename != __file__ and "importlib" not in filename


def _described(found: object) -> str:
    return "missing" if found is None else f"a {type(found).__name__}"

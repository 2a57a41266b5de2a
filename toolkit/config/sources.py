"""Where a configuration comes from: the file that is found, and the environment that it refers to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from toolkit.config.problems import did_you_mean
from toolkit.config.settings import Environment, Settings
from toolkit.errors import ConfigurationError

_OWN_NAMES = {"TOOLKIT_CONFIG", "TOOLKIT_ENV"}
_REFERENCE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<name>[^}:]*)(?P<fallback>:-[^}]*)?\}")
_NAME = re.compile(r"^[A-Za-z_]\w*$")
_MERGE_TAG = "tag:yaml.org,2002:merge"
_FOUND_WORD = re.compile(r"\b(tag|alias|anchor|handle) ['\"].*['\"]")

# Kubernetes tells every pod of every Service, and names the variables after it: of a Service called `toolkit`,
# TOOLKIT_SERVICE_HOST, TOOLKIT_PORT=tcp://10.0.0.1:80, TOOLKIT_PORT_80_TCP_ADDR and more.
_SERVICE_NAME = re.compile(
    r"^TOOLKIT_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$"
)
_SERVICE_ADDRESS = re.compile(r"^(tcp|udp|sctp)://")


def load_settings(
    *,
    env: Environment | None = None,
    config: str | Path | None = None,
    app_folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the configuration once, for the process that is about to start.

    ``env`` falls back to ``TOOLKIT_ENV``, then to ``dev``. The file is ``config``, else ``TOOLKIT_CONFIG``, else the
    first of ``toolkit.{env}.yaml`` beside the application (``app_folder``) or in the current folder, then of
    ``toolkit.yaml`` likewise; with none of them the defaults stand.

    Raises:
        ConfigurationError: the file is missing or is not YAML, a key or ``TOOLKIT_`` name is unknown, a variable
            is not set, a value does not fit. The message names the key, what was found and what was expected.
    """
    environ = os.environ if environ is None else environ
    chosen_env = _environment(env or environ.get("TOOLKIT_ENV") or "dev")
    wanted = config or environ.get("TOOLKIT_CONFIG") or None
    folders = [folder for folder in (app_folder, Path.cwd()) if folder is not None]
    source = _named(Path(wanted)) if wanted else _found(chosen_env, folders)

    content = read_yaml(source) if source else {}
    references = References(environ, place=str(source))
    content = references.substitute(content)
    _refuse_unknown_names(environ, known=_OWN_NAMES | references.names)

    folder = source.parent if source else folders[0]
    return Settings.of(content, env=chosen_env, folder=folder, source=source, hidden=references.keys)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping, a key that stands twice is an error."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Safe, and refuses what YAML itself lets pass: the second of two equal keys wins in silence."""

        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            # Before `<<` is followed: keys that it brings may well stand in the mapping, which wins over them.
            node = super().compose_mapping_node(anchor)
            seen: set[tuple[str, str]] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE_TAG:
                    continue
                if (key.tag, key.value) in seen:
                    where = _line(key.start_mark)
                    raise ConfigurationError(f"{path}: key {key.value!r} stands twice, {where}", key=key.value)
                seen.add((key.tag, key.value))
            return node

    try:
        content = yaml.load(path.read_text("utf-8"), Loader)  # noqa: S506 - derives from SafeLoader
    except yaml.MarkedYAMLError as error:
        # Not the whole text of the error: it quotes the line, which may hold a secret. Nor the words that it found: a
        # password that begins with an exclamation mark or an asterisk is a tag or an alias to YAML.
        where = _line(error.problem_mark) if error.problem_mark else "somewhere"
        problem = _FOUND_WORD.sub(r"\1", error.problem or "it cannot be read")
        hint = "" if problem == error.problem else " (text that begins with ! or * or & needs quotes)"
        raise ConfigurationError(f"{path}: not valid YAML, {where}: {problem}{hint}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not valid YAML: {type(error).__name__}; expected UTF-8 text") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except RecursionError:
        raise ConfigurationError(f"{path}: an anchor holds itself, or values nest too deep; write them out") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: found a {type(content).__name__}, expected a mapping of sections")
    if odd := [key for key in content if not isinstance(key, str)]:
        raise ConfigurationError(f"{path}: found the key {odd[0]!r}, expected names", key=str(odd[0]))
    _refuse_circles(content, path)
    return content


class References:
    """Replaces ``${NAME}`` and ``${NAME:-otherwise}`` in values; ``$${`` stands for ``${`` itself.

    Afterwards ``names`` holds the variables that were referred to and ``keys`` the keys whose values they made.
    It runs after parsing, so nothing in a variable can become YAML.
    """

    def __init__(self, environ: Mapping[str, str], *, place: str) -> None:
        self.names: set[str] = set()
        self.keys: set[str] = set()
        self._environ = environ
        self._place = place

    def substitute(self, value: Any, key: str = "") -> Any:
        """``value`` with every reference in its strings replaced; mappings keep their keys."""
        if isinstance(value, dict):
            return {name: self.substitute(one, f"{key}.{name}" if key else str(name)) for name, one in value.items()}
        if isinstance(value, list):
            return [self.substitute(one, f"{key}.{index}") for index, one in enumerate(value)]
        if isinstance(value, str):
            return _REFERENCE.sub(lambda match: self._replacement(match, key), value)
        return value

    def _replacement(self, match: re.Match[str], key: str) -> str:
        if match["escaped"]:
            return "${"
        name = match["name"]
        if not _NAME.match(name):
            raise ConfigurationError(
                # Unquoted: in a password it may be no reference at all.
                f"{self._place}: {key!r} has a '${{' that begins no reference; expected ${{NAME}} or "
                "${NAME:-otherwise}, or $${ for ${ itself",
                key=key,
            )
        self.names.add(name)
        self.keys.add(key)
        found = self._environ.get(name)
        if match["fallback"] is not None:
            if "${" in match["fallback"]:  # it would end at the first brace, and the reference inside would stay text
                raise ConfigurationError(
                    f"{self._place}: {key!r} has a reference inside of ${{{name}:-otherwise}}; expected plain text "
                    "after :-, for references do not nest",
                    key=key,
                )
            return found or match["fallback"].removeprefix(":-")
        if found is None:
            raise ConfigurationError(
                f"{self._place}: {key!r} needs the environment variable {name!r}, which is not set; "
                f"set it, or write ${{{name}:-otherwise}}",
                key=key,
            )
        return found


def _refuse_circles(value: Any, path: Path, key: str = "", above: tuple[int, ...] = ()) -> None:
    """An alias inside of what its anchor names has no end."""
    if not isinstance(value, dict | list):
        return
    if id(value) in above:
        raise ConfigurationError(
            f"{path}: {key!r}: found an alias inside of what its anchor names, expected values that end; write it out",
            key=key,
        )
    for name, one in value.items() if isinstance(value, dict) else enumerate(value):
        _refuse_circles(one, path, f"{key}.{name}" if key else str(name), (*above, id(value)))


def _environment(name: str) -> Environment:
    if name not in {"dev", "prod"}:
        raise ConfigurationError(f"found the environment {name!r} (TOOLKIT_ENV), expected 'dev' or 'prod'")
    return cast("Environment", name)


def _named(path: Path) -> Path:
    if not path.is_file():
        raise ConfigurationError(f"there is no configuration file {str(path)!r} (from --config or TOOLKIT_CONFIG)")
    return path.resolve()


def _found(env: Environment, folders: Iterable[Path]) -> Path | None:
    places = list(folders)
    candidates = [folder / name for name in (f"toolkit.{env}.yaml", "toolkit.yaml") for folder in places]
    return next((path.resolve() for path in candidates if path.is_file()), None)


def _refuse_unknown_names(environ: Mapping[str, str], *, known: set[str]) -> None:
    for name in sorted(environ):
        if name.startswith("TOOLKIT_") and name not in known and not _is_of_a_service(name, environ[name]):
            raise ConfigurationError(f"the environment sets {name!r}, which means nothing; {did_you_mean(name, known)}")


def _is_of_a_service(name: str, value: str) -> bool:
    return _SERVICE_NAME.match(name) is not None or (
        name.endswith("_PORT") and _SERVICE_ADDRESS.match(value) is not None
    )


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}"

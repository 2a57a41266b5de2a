"""What a function refers to: so that registering a workflow brings its steps, agents, rules and tasks along.

The names in a function's compiled code are looked up where Python itself would look: in its closure, then in its
module; an attribute such as ``agents.extract`` in the module it is taken from. Functions of the same code base are
followed. What a function fetches only while it runs (an import inside its body, ``getattr``) cannot be seen and is
registered by hand.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

_LARGEST_COLLECTION = 1000


def referred_by(function: Callable[..., Any], *, wanted: tuple[type, ...]) -> Iterator[Any]:
    """The objects of the ``wanted`` types that ``function`` refers to, each once, in the order of the code.

    It does not look into what it finds: the caller knows which function of a definition to follow.
    """
    seen: set[int] = set()
    yield from _search(function, wanted, seen)


def place_of(definition: Any) -> str:
    """Where a definition was written, as ``file:line``; ``an unknown place`` for what does not know."""
    if isinstance(source := getattr(definition, "source", None), str):
        return source
    code = getattr(getattr(definition, "__wrapped__", definition), "__code__", None)
    if isinstance(code, CodeType):
        return f"{code.co_filename}:{code.co_firstlineno}"
    if isinstance(definition, type):
        return f"{definition.__module__}.{definition.__qualname__}"
    return "an unknown place"


def _search(value: Any, wanted: tuple[type, ...], seen: set[int]) -> Iterator[Any]:
    if id(value) in seen:
        return
    if isinstance(value, wanted):
        seen.add(id(value))
        yield value
    elif isinstance(value, FunctionType):
        seen.add(id(value))
        for found in _mentioned(value):
            if not isinstance(found, FunctionType) or _is_followed(found, value):
                yield from _search(found, wanted, seen)
        if isinstance(wrapped := getattr(value, "__wrapped__", None), FunctionType):
            yield from _search(wrapped, wanted, seen)
    elif isinstance(value, MethodType):
        yield from _search(value.__func__, wanted, seen)
    elif isinstance(value, functools.partial):
        for one in (value.func, *value.args, *value.keywords.values()):
            yield from _search(one, wanted, seen)
    elif isinstance(value, dict | list | tuple | set | frozenset) and len(value) <= _LARGEST_COLLECTION:
        seen.add(id(value))
        for one in value.values() if isinstance(value, dict) else value:
            yield from _search(one, wanted, seen)


def _mentioned(function: FunctionType) -> Iterator[Any]:
    """What the code of ``function`` names, with its defaults and the functions written inside it."""
    enclosed: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            enclosed[name] = cell.cell_contents
        except ValueError:  # assigned later than the function was made, or never
            continue
    names = [name for code in _codes(function.__code__) for name in (*code.co_freevars, *code.co_names)]
    for name in names:
        found = enclosed.get(name, function.__globals__.get(name))
        if isinstance(found, ModuleType):
            yield from _attributes(found, names)
        elif found is not None:
            yield found
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()


def _attributes(module: ModuleType, names: list[str], depth: int = 3) -> Iterator[Any]:
    """What ``names`` could mean as attributes of ``module``, and of the modules below it."""
    for name in names:
        found = vars(module).get(name)
        if isinstance(found, ModuleType):
            if depth and found.__name__.startswith(f"{module.__name__}."):
                yield from _attributes(found, names, depth - 1)
        elif found is not None:
            yield found


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _is_followed(found: FunctionType, origin: FunctionType) -> bool:
    """Whether ``found`` is an author's own function, as opposed to a library's."""
    package = _package(found.__globals__)
    if package == _package(origin.__globals__):
        return True
    file = found.__code__.co_filename
    return package not in sys.stdlib_module_names | {"toolkit"} and "site-packages" not in file


def _package(scope: Mapping[str, Any]) -> str:
    return str(scope.get("__name__", "")).partition(".")[0]

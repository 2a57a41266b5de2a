"""The child process of the sandbox: evaluates graphs that nobody trusts yet, with nothing within its reach.

Run by its path, isolated, with the folder of zen-engine as its only argument; it imports nothing of the toolkit. Reads
one JSON line a trial and answers one line for the graph, then one a context and one a probe. It warms up before it
gives up its descriptors: the engine opens what it needs lazily, and would fail each time, and be twenty times slower.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

SPARE_MEMORY = 512 * 1024 * 1024  # bytes above what the warm process uses
KEPT_GRAPHS = 50  # as the parent counts
DEEPEST_SUB_DECISIONS = 5  # as in a compiled graph
SILENCE_FACTOR = 3  # the parent kills first; this ends the child when the parent is gone

_kept: dict[str, Any] = {}  # engines by key, the oldest first


def main() -> None:
    sys.path.append(sys.argv[1])
    import zen

    _warm_up(zen)
    _give_up(_used_memory())
    _answer({"ready": True})
    for line in sys.stdin.buffer:
        _run(zen, json.loads(line))


def _warm_up(zen: Any) -> None:
    columns = [{"id": "i", "name": "i", "field": "text"}], [{"id": "o", "name": "o", "field": "o"}]
    rows = [{"_id": f"r{n}", "i": f"'{n}'", "o": "date('2024-01-01')"} for n in range(9)]
    table = {"hitPolicy": "first", "inputs": columns[0], "outputs": columns[1], "rules": rows}
    expressions = [{"id": "1", "key": "o", "value": "matches(text, '^[a-z]+$') or d().year() > 2000 or rand(9) > 5"}]
    for type_, content in (("decisionTableNode", table), ("expressionNode", {"expressions": expressions})):
        _evaluate(zen, _load(zen, _chain(type_, content), {}), '{"text": "1"}', with_trace=True)
    with contextlib.suppress(RuntimeError):
        zen.evaluate_unary_expression("> 5", '{"$": 6}')
        zen.evaluate_expression("a > 5", '{"a": 6}')


def _chain(type_: str, content: dict[str, Any]) -> str:
    nodes = [
        {"id": "a", "name": "a", "type": "inputNode", "content": {"schema": '{"type": "object"}'}},
        {"id": "b", "name": "b", "type": type_, "content": content},
        {"id": "c", "name": "c", "type": "outputNode", "content": {}},
    ]
    edges = [{"id": f"{n}", "type": "edge", "sourceId": n, "targetId": chr(ord(n) + 1)} for n in "ab"]
    return json.dumps({"nodes": nodes, "edges": edges})


def _give_up(used: int | None) -> None:
    """No descriptor can be opened from here on, no core is written, and memory ends a little above today's."""
    try:
        import resource
    except ImportError:  # not on this platform: the parent's timeout remains
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    if used is not None:
        resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_MEMORY, used + SPARE_MEMORY))


def _used_memory() -> int | None:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # pathlib would be imported for this alone
            import resource

            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # no such file outside Linux, and no limit on address space worth having either
        return None


def _run(zen: Any, trial: dict[str, Any]) -> None:
    try:
        _watch(trial["seconds"])
        try:
            engine = _engine(zen, trial)
        except (RuntimeError, ValueError, TypeError) as error:
            _answer({"error": _first_line(error)})
            return
        _answer({"ready": True})
        for context in trial["contexts"]:
            _watch(trial["seconds"])
            _answer(_evaluate(zen, engine, context, with_trace=trial["trace"]))
        for kind, text, contexts in trial["probes"]:
            _watch(trial["seconds"])
            _answer({"raises": all(_raises(zen, kind, text, context) for context in contexts)})
    finally:
        _watch(0)


def _engine(zen: Any, trial: dict[str, Any]) -> Any:
    """The engine with the graph of the trial: kept from before where the parent sends a key alone."""
    key = trial["key"]
    if key is None:
        return _load(zen, trial["graph"], trial["parts"])
    if trial["graph"] is not None:
        _kept[key] = _load(zen, trial["graph"], trial["parts"])
        if len(_kept) > KEPT_GRAPHS:
            del _kept[next(iter(_kept))]
    return _kept[key]


def _watch(seconds: float) -> None:
    """End this process, whatever native code is doing, if it does not come back here in time."""
    try:
        from signal import ITIMER_REAL, setitimer
    except ImportError:  # not on this platform
        return
    setitimer(ITIMER_REAL, seconds * SILENCE_FACTOR)


def _load(zen: Any, graph: str, parts: dict[str, str]) -> Any:
    contents = {key: zen.ZenDecisionContent(text) for key, text in {**parts, "graph": graph}.items()}
    return zen.ZenEngine({"loader": contents.__getitem__})


def _evaluate(zen: Any, engine: Any, context: str, *, with_trace: bool) -> dict[str, Any]:
    try:
        response = engine.evaluate("graph", context, {"trace": with_trace, "max_depth": DEEPEST_SUB_DECISIONS + 1})
    except BaseException as error:
        if _is_panic(error):
            return {"error": "the engine failed within itself"}
        if not isinstance(error, Exception):
            raise
        return {"error": _first_line(error)}
    return {"result": response["result"], "trace": response.get("trace")}


def _raises(zen: Any, kind: str, text: str, context: str) -> bool:
    try:
        (zen.evaluate_unary_expression if kind == "test" else zen.evaluate_expression)(text, context)
    except BaseException as error:
        if not isinstance(error, Exception) and not _is_panic(error):
            raise
        return True
    return False


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"  # native code that failed; derives from BaseException


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]


def _answer(value: dict[str, Any]) -> None:
    try:
        line = json.dumps(value)
    except (ValueError, RecursionError):
        line = json.dumps({"error": "the output cannot be written as JSON"})
    sys.stdout.buffer.write(line.encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

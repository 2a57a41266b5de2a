"""Importing ``toolkit.testing`` changes nothing: who wants something of it asks for it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_PROBE = """
import asyncio, gc, logging, os, random, signal, sys, threading, time, warnings

def state():
    return {
        "policy": type(asyncio.get_event_loop_policy()),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "threads": threading.enumerate(),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)],
        "clock": (time.time, time.monotonic, time.sleep, asyncio.sleep),
        "random": random.getstate(),
        "root logger": (logging.root.level, list(logging.root.handlers)),
        "excepthook": (sys.excepthook, threading.excepthook, sys.getprofile(), sys.gettrace()),
    }

# The rooms that it stands on are loaded first: what they do is theirs.
import toolkit.agents, toolkit.app, toolkit.human, toolkit.workflows, pydantic_ai.models.function, asyncpg
from sqlalchemy.ext import asyncio as _sa
before, files = state(), set(os.listdir("/proc/self/fd"))
opened = []
sys.addaudithook(lambda event, args: opened.append((event, str(args[0]) if args else "")))
import toolkit.testing
for name in toolkit.testing.__all__:
    getattr(toolkit.testing, name)
after = state()
assert before == after, [key for key in before if before[key] != after[key]]
assert set(os.listdir("/proc/self/fd")) == files
bad = [(event, what) for event, what in opened
       if event.startswith(("socket.", "subprocess.", "os.remove", "os.mkdir", "tempfile.", "sqlite3.", "shutil."))]
written = [what for event, what in opened if event == "open" and not what.endswith((".py", ".pyc", "proc/self/fd"))
           and ".pyc." not in what and "site-packages" not in what]
assert not bad, bad
assert not written, written
print("unchanged")
"""


def test_importing_it_changes_nothing() -> None:
    finished = subprocess.run(
        [sys.executable, "-B", "-c", _PROBE], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.stdout.strip() == "unchanged", finished.stderr


def test_loading_the_door_loads_no_library() -> None:
    code = (
        "import sys, toolkit.testing; "
        "print(sorted({'pytest', 'pydantic_ai', 'sqlalchemy', 'fastapi', 'toolkit.app'} & set(sys.modules)))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert finished.stdout.strip() == "[]"


def test_nobody_in_the_toolkit_imports_it() -> None:
    importers = []
    for path in (ROOT / "toolkit").rglob("*.py"):
        if path.parent.name == "testing":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            importers += [path for name in names if name.startswith("toolkit.testing")]
    assert importers == []

"""What tests of workflows are made with: time that skips, crashes at chosen points, replays, models from a script."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.testing.apps import Answer, AppProcess, run_workflow, running_app
    from toolkit.testing.clocks import VirtualClock
    from toolkit.testing.crashes import Crash, CrashingDatabase, crash_after, crash_before
    from toolkit.testing.databases import temporary_database, temporary_url
    from toolkit.testing.models import ScriptedModel, call_tool
    from toolkit.testing.processes import Process, crash_everywhere, running_process
    from toolkit.testing.recordings import RecordedModel, no_live_models

__all__ = [
    "Answer",
    "AppProcess",
    "Crash",
    "CrashingDatabase",
    "Process",
    "RecordedModel",
    "ScriptedModel",
    "VirtualClock",
    "call_tool",
    "crash_after",
    "crash_before",
    "crash_everywhere",
    "no_live_models",
    "run_workflow",
    "running_app",
    "running_process",
    "temporary_database",
    "temporary_url",
]

_MODULES = {
    "apps": ("Answer", "AppProcess", "run_workflow", "running_app"),
    "clocks": ("VirtualClock",),
    "crashes": ("Crash", "CrashingDatabase", "crash_after", "crash_before"),
    "databases": ("temporary_database", "temporary_url"),
    "models": ("ScriptedModel", "call_tool"),
    "processes": ("Process", "crash_everywhere", "running_process"),
    "recordings": ("RecordedModel", "no_live_models"),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """What a test does not use is not loaded: a model's library takes seconds."""
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Durable business processes: software, AI agents, rules and people on the same case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.app import Toolkit

__all__ = ["Toolkit"]


def __getattr__(name: str) -> Any:
    """``import toolkit`` stays light: an application is loaded when it is asked for."""
    if name == "Toolkit":
        from toolkit.app import Toolkit

        return Toolkit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""A step that leaves word of itself, and what has been left since the test began."""

from __future__ import annotations

from toolkit.workflows import step

notes: list[str] = []
"""Emptied before each test."""


@step()
async def note(text: str) -> str:
    notes.append(text)
    return text

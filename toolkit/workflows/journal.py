"""The checkpoints of one run in memory, and which of those on record its code has not asked for yet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, cast, overload

from toolkit.workflows.operations import StepRecord
from toolkit.workflows.states import StepKind

PATCH = "patched:"
# The details of a start whose run is to be ended with the one that started it.
LINKED = '{"linked": true}'
# Sections whose entry is on record: what is shielded, and what is undone if it does not end well.
SECTIONS = frozenset({"shield", "compensation"})
# Not asked for by code in order: what a patch decided, and what a run that went on as another had heard.
_ASIDE = (PATCH, "continued/")


class Journal(dict[str, StepRecord]):
    """Checkpoints by path, of which those that were on record when the run was read in are *unread* until asked for.

    A run that has nothing unread stands where its journal ends. ``upcast`` is applied to a record that other code may
    have written, when it is first asked for; it may raise ``RunParked``.
    """

    def __init__(
        self,
        steps: Iterable[StepRecord] = (),
        *,
        waits: Iterable[str] = (),
        upcast: Callable[[StepRecord], StepRecord] | None = None,
    ) -> None:
        """``waits`` are the paths of waits that are open."""
        super().__init__((step.path, step) for step in steps)
        self._upcast = upcast
        self._old = set(self) if upcast is not None else set[str]()
        self._unread = dict.fromkeys([*self, *waits])  # in order of their record
        self._asked: set[str] = set()
        self.sections = tuple(path for path, step in self.items() if is_section(path, kind=step.kind))

    def has_section_below(self, path: str) -> bool:
        """Whether a section was entered there before the run was read in."""
        return any(section.startswith(f"{path}/") for section in self.sections)

    def has_unread_below(self, path: str) -> bool:
        """Whether something is on record there that the code has not asked for yet."""
        return any(one.startswith(f"{path}/") for one in self._unread)

    @overload  # type: ignore[override]  # a default would hide that something was asked for in vain
    def get(self, path: str) -> StepRecord | None: ...
    @overload
    def get(self, path: str, default: StepRecord) -> StepRecord: ...

    def get(self, path: str, default: StepRecord | None = None) -> StepRecord | None:
        if self._unread or self._old:
            self._ask(path)
        return super().get(path, default)

    def __getitem__(self, path: str) -> StepRecord:
        if self._unread or self._old:
            self._ask(path)
        return super().__getitem__(path)

    def __contains__(self, path: object) -> bool:
        if self._unread:
            self._asked.add(str(path))
            self._unread.pop(str(path), None)
        return super().__contains__(path)

    def holds(self, path: str) -> bool:
        """Whether ``path`` is on record; asking so does not count as the code's asking."""
        return super().__contains__(path)

    def note_foreign(self, path: str) -> None:
        """The record at ``path`` was delivered by others, and may have been written by other code."""
        if self._upcast is not None:
            self._old.add(path)

    @property
    def unread(self) -> list[str]:
        """The paths on record that the code has not asked for, in the order of their record.

        What stands below a step that was asked for belongs to that step. Branches that an outcome on record has left
        are not gone through again, unless they have sections to end.
        """
        return [path for path in self._unread if not path.startswith(_ASIDE) and not self._is_accounted_for(path)]

    def lies_ahead(self, path: str) -> bool:
        """Whether a replay has yet to come to something on record below ``path``; the empty path is the whole run."""
        return any(one.startswith(f"{path}/") or not path for one in self.unread)

    def _is_accounted_for(self, path: str) -> bool:
        below, ancestor = path, path.rpartition("/")[0]
        while ancestor:
            is_step = ancestor.rpartition("/")[2].isdigit()  # branches end in ".0", steps in "/0"
            if ancestor in self._asked and (is_step or self._is_left(ancestor, branch=below)):
                return True
            below, ancestor = ancestor, ancestor.rpartition("/")[0]
        return False

    def _is_left(self, outcome: str, *, branch: str) -> bool:
        """Whether ``branch`` was given up by what is on record at ``outcome``, with nothing to end."""
        recorded = super().get(outcome)
        if recorded is None or self.has_section_below(branch):
            return False
        winner = details_of(recorded).get("winner")
        return branch != f"{outcome}/{winner}"

    def _ask(self, path: str) -> None:
        self._asked.add(path)
        self._unread.pop(path, None)
        if path in self._old:
            assert self._upcast is not None
            self[path] = self._upcast(super().__getitem__(path))
            self._old.discard(path)


def is_section(path: str, *, kind: str) -> bool:
    """Whether the entry of a section is on record at ``path``; a step or a child may have the name of one."""
    before, _, occurrence = path.rpartition("/")
    return kind == StepKind.MESSAGE and occurrence.isdigit() and before.rpartition("/")[2] in SECTIONS


def details_of(record: StepRecord) -> dict[str, Any]:
    """The details that a step's body left."""
    return cast("dict[str, Any]", json.loads(record.details)) if record.details else {}

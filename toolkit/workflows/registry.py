"""The workflows that one engine has the code of, in all their versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.errors import DefinitionError, NotFound
from toolkit.workflows.bulk import change_runs
from toolkit.workflows.definitions import Workflow, workflow_key
from toolkit.workflows.outcomes import ClaimedRun


class Registry:
    """Finds the code of a run: by the workflow's name, and its version if it has one."""

    def __init__(self) -> None:
        self._workflows: dict[str, Workflow[Any, Any]] = {}
        # The engine's own is advanced by any worker and started by ``control`` alone.
        self._versions: dict[str, Workflow[Any, Any]] = {change_runs.key: change_runs}
        self.limits: dict[str, int] = {}  # how many runs of a workflow may be active here, where it has a limit

    @property
    def workflows(self) -> Mapping[str, Workflow[Any, Any]]:
        """Those that can be started, by name: of several versions the one that was registered first."""
        return self._workflows

    @property
    def keys(self) -> list[str]:
        """Every version of every workflow whose runs can be advanced; see :attr:`Workflow.key`."""
        return list(self._versions)

    def workflow_of(self, run: ClaimedRun) -> Workflow[Any, Any]:
        """The code that a run began with."""
        return self._versions[workflow_key(run.workflow, run.version)]

    def find(self, name: str, version: str | None) -> Workflow[Any, Any] | None:
        """One version of a workflow, or ``None`` if it is not here."""
        return self._versions.get(workflow_key(name, version))

    def add(self, workflow: Workflow[Any, Any]) -> None:
        """Take in ``workflow``, and what cleans up after it.

        Raises:
            DefinitionError: another workflow has its name.
        """
        known = self._versions.setdefault(workflow.key, workflow)
        if self._workflows.setdefault(workflow.name, workflow) is workflow and workflow.concurrency is not None:
            self.limits[workflow.name] = workflow.concurrency
        if known is not workflow:
            raise DefinitionError(
                f"two workflows are called {workflow.name!r}: {_place(known)} and {_place(workflow)}; give one a name= "
                "or a version= of its own"
            )
        if workflow.on_cancel is not None:
            self.add(workflow.on_cancel)

    def require(self, workflow: Workflow[Any, Any]) -> None:
        """Refuse a workflow that is not here; its runs would wait for ever.

        Raises:
            NotFound: it is not here, or another one has its name.
        """
        if self._versions.get(workflow.key) is not workflow:
            raise NotFound("registered workflow", workflow.key, known=list(self._versions))


def _place(workflow: Workflow[Any, Any]) -> str:
    code = workflow.function.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"

"""Talks to the application as any client would: through its public REST API."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import Any

import httpx2

Json = dict[str, Any]

WORKFLOW = "process_invoice"
_ENDED = frozenset({"succeeded", "failed", "cancelled", "parked"})
_POLL_SECONDS = 0.05


class StuckError(RuntimeError):
    """A run neither ended nor asked a person in time."""


class RefusedError(RuntimeError):
    """The API refused a request; the message holds its answer."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an invoice stands: its run, and the task that waits for a person, as REST gives them."""

    run: Json
    task: Json | None = None

    @property
    def has_settled(self) -> bool:
        """Nothing more happens unless a person acts."""
        return self.task is not None or self.run["state"] in _ENDED


class Client:
    """The calls that the demo makes. ``patience`` is how many seconds a run may take to settle."""

    def __init__(self, http: httpx2.AsyncClient, *, patience: float = 60.0) -> None:
        self._http = http
        self._patience = patience

    async def send_in(self, name: str, content: bytes) -> Standing:
        """Upload an invoice, start its run, and wait until it ended or asks a person.

        The key of the run is name and content of the file: sent in again after a restart, it is the same run.
        """
        digest = hashlib.sha256(content).hexdigest()
        file_id = await self._uploaded(name, digest) or await self._upload(name, content)
        started = await self.call(
            "POST",
            f"/workflows/{WORKFLOW}/runs",
            json={"input": {"file": {"id": file_id}}},
            headers={"Idempotency-Key": f"{name}-{digest[:16]}"},
        )
        return await self.settled(str(started["id"]))

    async def answer(self, standing: Standing, output: Json) -> Standing:
        """Answer the open task with ``output``, and wait for what comes next."""
        assert standing.task is not None, "nobody is asked"
        await self.call("POST", f"/human-tasks/{standing.task['id']}/complete", json={"output": output})
        return await self.settled(standing.run["id"], after_task=standing.task["id"])

    async def settled(self, run_id: str, *, after_task: str = "") -> Standing:
        """Where the run stands once it has ended, or asks a person something else than ``after_task``.

        Raises:
            StuckError: it did neither in time.
        """
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            standing = await self._look(run_id, after_task=after_task)
            if standing.has_settled:
                return standing
            await asyncio.sleep(_POLL_SECONDS)
        raise StuckError(f"run {run_id} is still going on after {self._patience:g} s")

    async def call(self, method: str, path: str, **request: Any) -> Json:
        """The answer to one request.

        Raises:
            RefusedError: the API said no.
        """
        response = await self._http.request(method, f"/toolkit/v1{path}", **request)
        if response.is_error:
            raise RefusedError(f"{method} {path} gave {response.status_code}: {response.text}")
        answer: Json = response.json()
        return answer

    async def _look(self, run_id: str, *, after_task: str) -> Standing:
        run = await self.call("GET", f"/runs/{run_id}")
        tasks = await self.call("GET", "/human-tasks", params={"run_id": run_id, "state": "open"})
        new = [task["id"] for task in tasks["items"] if task["id"] != after_task]
        return Standing(run, await self.call("GET", f"/human-tasks/{new[0]}") if new else None)

    async def _upload(self, name: str, content: bytes) -> str:
        uploaded = await self.call("POST", "/files", files={"file": (name, content)})
        return str(uploaded["items"][0]["id"])

    async def _uploaded(self, name: str, digest: str) -> str | None:
        """The file of an earlier demo on the same data, since a run's key goes with its exact input."""
        listed = await self.call("GET", "/files", params={"limit": 200})
        same = [file for file in listed["items"] if file["sha256"] == digest and file["filename"] == name]
        return str(same[-1]["id"]) if same else None

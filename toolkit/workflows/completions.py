"""Those in this process who wait for the end of a run, wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from toolkit.errors import NotFound
from toolkit.storage import Database, StorageUnavailable
from toolkit.workflows.outcomes import EndedRun
from toolkit.workflows.queries import run_states


class Completions:
    """Tells them at once of a run that ends here, and looks from time to time for those that end elsewhere."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, list[asyncio.Future[EndedRun]]] = {}

    async def wait(self, run_id: str, *, is_resident: bool) -> EndedRun:
        """The end of a run. One that is resident ends here, unless it is taken over; nobody has to look for it.

        Raises:
            NotFound: there is no such run.
        """
        if not is_resident:
            states = await run_states(self._database.reader, [run_id])
            if run_id not in states:
                raise NotFound("run", run_id)
            if states[run_id].state.is_final:
                return states[run_id]
        future: asyncio.Future[EndedRun] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(run_id, [])
        waiting.append(future)
        try:
            return await future
        finally:
            waiting.remove(future)
            if not waiting and self._waiting.get(run_id) is waiting:
                del self._waiting[run_id]

    def tell(self, ended: EndedRun) -> None:
        """A run has ended."""
        if ended.state.is_final:
            for future in self._waiting.pop(ended.id, ()):
                if not future.done():
                    future.set_result(ended)

    def awaited_elsewhere(self, is_running: Callable[[str], bool]) -> list[str]:
        """The awaited runs that will not end here."""
        return [run_id for run_id in self._waiting if not is_running(run_id)]

    async def look(self, *, is_running: Callable[[str], bool]) -> None:
        """See whether awaited runs have ended in other processes; those that are running here end here."""
        elsewhere = self.awaited_elsewhere(is_running)
        if not elsewhere:
            return
        try:
            states = await run_states(self._database.reader, elsewhere)
        except StorageUnavailable:
            return  # the next look tells
        for ended in states.values():
            self.tell(ended)

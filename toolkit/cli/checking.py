"""``toolkit check``: the live runs of an installation, replayed against the code on disk before it is deployed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.targets import load_application
from toolkit.config import load_settings

if TYPE_CHECKING:
    from toolkit.config import Environment
    from toolkit.workflows import Replay


def check(target: str, *, env: Environment, config: Path | None) -> list[Replay]:
    """Replay every live run of the application that ``target`` names; nothing is changed."""
    app = load_application(target)
    app.configure(load_settings(env=env, config=config or app.config, app_folder=app.folder))
    return asyncio.run(app.check_live_runs())


def describe(replays: Sequence[Replay]) -> Iterator[str]:
    """What was found, in lines: first the runs that would break, then those in doubt, then the numbers."""
    broken = [replay for replay in replays if replay.verdict == "breaks"]
    doubtful = [replay for replay in replays if replay.verdict == "doubtful"]
    for replay in broken:
        yield f"BREAKS    {_name(replay)}"
        yield from (f"    {line}" for line in str(replay.fault).splitlines())
    for replay in doubtful:
        yield f"DOUBTFUL  {_name(replay)}"
        yield from (f"    on record, not asked for any more: {path}" for path in replay.unread)
        yield from (f"    would begin first: {path}" for path in replay.beyond)
    going_on = len(replays) - len(broken) - len(doubtful)
    yield f"{len(replays)} live run(s): {going_on} go on, {len(doubtful)} doubtful, {len(broken)} would break."


def _name(replay: Replay) -> str:
    version = f", version {replay.version}" if replay.version is not None else ""
    return f"{replay.run_id}  {replay.workflow}{version}"

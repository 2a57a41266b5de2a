"""``toolkit dev``, ``prod`` and ``worker``: one process from its first line to its last."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.cli.targets import load_application
from toolkit.config import Settings, load_settings
from toolkit.errors import ConfigurationError
from toolkit.garbage import collect_rarely
from toolkit.telemetry import configure_logging

if TYPE_CHECKING:
    import uvicorn

    from toolkit.app import Toolkit
    from toolkit.config import Environment

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 0.3


def serve(target: str, *, env: Environment, config: Path | None, host: str | None, port: int | None) -> None:
    """Serve the application that ``target`` names until a signal ends it."""
    app = _prepare(target, env=env, config=config)
    settings = app.settings
    address = host or settings.server.host
    if env == "dev":
        _refuse_to_be_seen(address, settings)
    with _listening(address, settings.server.port if port is None else port) as listener:
        asyncio.run(_serve(app, listener))


def work(target: str, *, env: Environment, config: Path | None) -> None:
    """Advance the runs of the application that ``target`` names until a signal ends it."""
    app = _prepare(target, env=env, config=config)
    asyncio.run(_work(app))


def _prepare(target: str, *, env: Environment, config: Path | None) -> Toolkit:
    app = load_application(target)
    settings = load_settings(env=env, config=config or app.config, app_folder=app.folder)
    configure_logging(
        level=settings.logging.level,
        loggers={"uvicorn": "WARNING", **settings.logging.loggers},  # we say ourselves what it would say
        format=settings.logging.format,
    )
    return app.configure(settings)


async def _serve(app: Toolkit, listener: socket.socket) -> None:
    import uvicorn

    settings = app.settings
    with stop_signals() as stopped:
        async with app.running():
            # The lifespan is ours: an installation that cannot start is one clear line, not a traceback of the server.
            server = server_class()(
                uvicorn.Config(
                    app,
                    lifespan="off",
                    log_config=None,
                    access_log=logger.isEnabledFor(logging.DEBUG),
                    server_header=False,
                    timeout_graceful_shutdown=settings.server.shutdown_seconds,  # type: ignore[arg-type]  # any number
                )
            )
            collect_rarely()
            serving = asyncio.create_task(server.serve([listener]))
            stopping = asyncio.create_task(stopped.wait())
            _announce(app, listener)
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            stopping.cancel()
            await serving
    await _end_what_is_left()


def server_class() -> type[uvicorn.Server]:
    """A server that leaves signals to us: its own handling ends the process before the engine has closed."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server


async def _work(app: Toolkit) -> None:
    with stop_signals() as stopped:
        async with app.working():
            collect_rarely()
            logger.info("The worker is ready", extra={"event": "worker.ready", "app": app.title})
            await stopped.wait()
    await _end_what_is_left()


async def _end_what_is_left() -> None:
    """Nothing keeps the process from ending: everything is closed, and what still runs counts no more.

    ``asyncio.run`` would wait for as long as it takes an author's code to let itself be cancelled.
    """
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    _, stuck = await asyncio.wait(tasks, timeout=_PATIENCE_SECONDS)
    if stuck:
        logger.warning(
            "Code that does not let itself be cancelled was left behind",
            extra={"event": "process.left_behind", "tasks": len(stuck)},
        )
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set, from now on to the end of the block; a second signal ends at once."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int) -> None:
        stopped.set()
        logger.info("Stopping", extra={"event": "process.stopping", "signal": signal.Signals(number).name})
        for each in signals:
            loop.remove_signal_handler(each)

    for each in signals:
        loop.add_signal_handler(each, stop, each)
    try:
        yield stopped
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=2048)
        # Asked for by name: asyncio does so only for sockets that were made with their protocol, and without it an
        # answer of two packets waits 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {reason}; choose another with --port or server.port", key="server.port"
        ) from error
    with listener:
        yield listener


def _refuse_to_be_seen(host: str, settings: Settings) -> None:
    """In ``dev`` anybody who reaches the port is believed, so nobody but this machine may reach it."""
    if settings.authenticator != "dev" or _is_loopback(host):
        return
    raise ConfigurationError(
        f"'dev' believes every caller, so it does not listen on {host!r}; use 127.0.0.1, or configure "
        "security.authenticator: api_keys with a key from `toolkit key create`",
        key="server.host",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _announce(app: Toolkit, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    settings = app.settings
    if settings.env == "dev":
        shown: dict[str, Any] = settings.shown()
        print(f"{app.title} on {address}", flush=True)
        print(f"  documentation  {address}/docs", flush=True)
        print(f"  database       {shown['database']['url']}", flush=True)
        print(f"  configuration  {settings.source or 'defaults'}", flush=True)
        print("  Ctrl-C stops it; what was begun goes on at the next start", flush=True)
    logger.info("Serving", extra={"event": "server.ready", "address": address, "env": settings.env})

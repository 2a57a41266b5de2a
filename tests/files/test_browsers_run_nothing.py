"""A real browser opens stored files in every way it knows, and runs nothing that stands in them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
import uvicorn
from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from toolkit import Toolkit
from toolkit.access import Permission
from toolkit.api import requires
from toolkit.config import Settings

CHROMIUM = shutil.which("chromium")
pytest.importorskip("playwright", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")

FLAGS = [
    "--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def script(case: str) -> str:
    """Says loudly that it ran: by a request, and on the console where requests are not let out."""
    return f"fetch('/ran?case={case}').catch(()=>0);new Image().src='/ran?case={case}';console.log('ran {case}')"


def html(case: str) -> bytes:
    return f"<!doctype html><html><body><p>page</p><script>{script(case)}</script></body></html>".encode()


def svg(case: str) -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" onload="{script(case)}"><script>{script(case)}</script></svg>'.encode()


def xhtml(case: str) -> bytes:
    return f'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><script>{script(case)}</script></html>'.encode()


def pdf(case: str) -> bytes:
    action = f"<< /S /JavaScript /JS (app.launchURL\\('/ran?case={case}'\\)) >>"
    return f"%PDF-1.7\n1 0 obj << /Type /Catalog /OpenAction {action} /Pages 2 0 R >> endobj\n%%EOF\n".encode() + html(
        case
    )


# Content, filename, and the type that a careless sender or server would say.
CASES: dict[str, tuple[bytes, str, str]] = {
    "svg": (svg("svg"), "drawing.svg", "image/svg+xml"),
    "html": (html("html"), "page.html", "text/html"),
    "html-without-type": (html("html-without-type"), "page", ""),
    "html-of-unknown-type": (html("html-of-unknown-type"), "page.xyz", "application/unknown"),
    "html-as-pdf": (html("html-as-pdf"), "invoice.pdf", "application/pdf"),
    "xhtml": (xhtml("xhtml"), "page.xml", "application/xhtml+xml"),
    "html-in-a-gif": (b"GIF89a/*" + html("html-in-a-gif") + b"*/", "picture.gif", "text/html"),
    "html-in-text": (b"Dear reader,\n" * 100 + html("html-in-text"), "letter.txt", "text/html"),
    "pdf": (pdf("pdf"), "scan.pdf", "application/pdf"),
    "html-before-a-pdf": (html("html-before-a-pdf") + b"\n%PDF-1.7\n", "scan.pdf", "text/html"),
    "javascript": (script("javascript").encode(), "code.js", "text/javascript"),
    "javascript-in-a-gif": (
        b"GIF89a=1/*" + b"\x00" * 9 + b"*/;" + script("javascript-in-a-gif").encode(), "picture.gif", "text/javascript",
    ),
    "javascript-in-csv": (b"a=1,\nb=2;" + script("javascript-in-csv").encode(), "table.csv", "text/javascript"),
    "html-in-utf-16": (("\ufeff" + html("html-in-utf-16").decode()).encode("utf-16-le"), "page.txt", "text/html"),
}  # fmt: skip

FRAMES = (
    '<iframe src="{}"></iframe>', '<object data="{}"></object>', '<embed src="{}">', '<img src="{}">',
    '<script src="{}"></script>', '<script type="module" src="{}"></script>', '<link rel="stylesheet" href="{}">',
)  # fmt: skip


def framed(addresses: Iterable[str]) -> Response:
    """A page that takes in each address in every way there is."""
    return HTMLResponse("<!doctype html>" + "".join(frame.format(address) for address in addresses for frame in FRAMES))


def pages(ran: list[str], addresses: dict[str, str]) -> APIRouter:
    """A page of our own address that takes files in, and a place that scripts call."""
    router = APIRouter()
    open_to_all = [requires(Permission.HEALTH_READ)]

    @router.get("/ran", dependencies=open_to_all)
    async def note(case: str) -> Response:
        ran.append(case)
        return Response(status_code=204)

    @router.get("/frames", dependencies=open_to_all)
    async def frames() -> Response:
        return framed(addresses.values())

    return router


def careless(ran: list[str]) -> Any:
    """A server that gives every file out as its sender called it: there, scripts run."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        name = scope["path"].rpartition("/")[2]
        if name == "ran":
            ran.extend(parse_qs(scope["query_string"].decode())["case"])
            response = Response(status_code=204)
        elif name == "frames":
            response = framed(f"/{case}" for case in CASES)
        else:
            content, _, declared = CASES.get(name, (b"", "", "text/plain"))
            response = Response(content, headers={"content-type": declared} if declared else {})
        await response(scope, receive, send)

    return serve


@asynccontextmanager
async def served(application: Any) -> AsyncIterator[str]:
    """The address of ``application`` on a port of this machine."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=FLAGS, chromium_sandbox=False, accept_downloads=True
        )
        yield context
        await context.close()


async def visit_all(context: Any, address: str, paths: Iterable[str]) -> list[str]:
    """Open each file by itself, then a page with all of them; what scripts said."""
    from playwright.async_api import Error

    said: list[str] = []
    page = await context.new_page()
    page.set_default_timeout(90_000)
    page.on("console", lambda message: said.append(message.text))
    for path in paths:
        try:
            await page.goto(address + path)
        except Error as error:
            if "Download is starting" not in str(error) and "net::ERR_ABORTED" not in str(error):
                raise
    await page.goto(f"{address}/frames", wait_until="load")
    return [text.removeprefix("ran ") for text in said if text.startswith("ran ")]


async def test_no_script_of_a_stored_file_runs(tmp_path: Path) -> None:
    ran: list[str] = []
    addresses: dict[str, str] = {}
    app = Toolkit("Files").register_router(pages(ran, addresses))
    async with (
        app.running(settings=Settings.defaults(folder=tmp_path)),
        served(app) as address,
        httpx2.AsyncClient(base_url=address) as client,
        browser(tmp_path / "profile") as context,
    ):
        for case, (content, filename, declared) in CASES.items():
            headers = {"content-type": declared or "application/octet-stream"}
            query = f"?filename={filename}"
            response = await client.post(f"/toolkit/v1/files{query}", content=content, headers=headers)
            addresses[case] = f"/toolkit/v1/files/{response.json()['items'][0]['id']}/content"
        said = await visit_all(context, address, addresses.values())

    assert len(addresses) >= 8
    assert (ran, said) == ([], [])


async def test_the_same_files_run_where_a_server_is_careless(tmp_path: Path) -> None:
    """Otherwise the test above would show nothing."""
    ran: list[str] = []
    async with served(careless(ran)) as address, browser(tmp_path / "profile") as context:
        said = await visit_all(context, address, [f"/{case}" for case in CASES])

    assert set(CASES) - {*ran, *said} <= {"html-as-pdf", "pdf"}  # a viewer of its own opens these

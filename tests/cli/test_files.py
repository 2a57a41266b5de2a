"""``toolkit files``: an operator checks, moves and releases what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from toolkit import Toolkit
from toolkit.access import list_audit
from toolkit.cli.commands import cli
from toolkit.config import Settings
from toolkit.errors import FileQuarantined, NotFound
from toolkit.files import File

CONFIGURATION = """
file_storage:
  default: file://./files
  archive: file://./archive
"""


async def scan(file: File, chunks: AsyncIterator[bytes]) -> str | None:
    return "EICAR" if b"virus" in b"".join([chunk async for chunk in chunks]) else None


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An application in a module of its own, with two storages."""
    (tmp_path / "toolkit.yaml").write_text(CONFIGURATION, encoding="utf-8")
    name = f"papers_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text("from toolkit import Toolkit\n\napp = Toolkit('Papers')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return f"{name}.py"


@pytest.fixture
def app(main: str, tmp_path: Path) -> Toolkit:
    """The same installation, for the test itself."""
    storages = {"default": "file://./files", "archive": "file://./archive"}
    app = Toolkit("Papers").register_scan(scan)
    return app.configure(Settings.of({"file_storage": storages}, folder=tmp_path))


def call(*arguments: str) -> tuple[int, str]:
    """Exit code and output of ``toolkit files ...``."""
    result = CliRunner().invoke(cli, ["files", *arguments, "--env", "dev"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def upload(app: Toolkit, *contents: bytes) -> list[File]:
    async def work() -> list[File]:
        return [await File.upload(content=content, filename=f"{at}.txt") for at, content in enumerate(contents)]

    return app.run_standalone(work)


def objects_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_verify_finds_what_is_damaged(app: Toolkit, main: str, tmp_path: Path) -> None:
    whole, damaged = upload(app, b"whole", b"right")

    assert call("verify", main) == (0, "Every file is as it was stored.\n")
    (path,) = [path for path in objects_in(tmp_path / "files") if path.read_bytes() == b"right"]
    path.write_bytes(b"wrong")
    code, said = call("verify", main)

    assert code == 1
    assert damaged.id in said
    assert "'1.txt'" in said
    assert whole.id not in said


def test_migrate_moves_everything_and_can_be_called_again(app: Toolkit, main: str, tmp_path: Path) -> None:
    files = upload(app, b"one", b"two", b"three")

    assert call("migrate", main, "--from", "default", "--to", "archive") == (0, "Moved 3 file(s).\n")
    assert call("migrate", main, "--from", "default", "--to", "archive") == (0, "Moved 0 file(s).\n")

    async def read() -> list[bytes]:
        return [await file.read() for file in files]

    assert app.run_standalone(read) == [b"one", b"two", b"three"]
    assert (len(objects_in(tmp_path / "files")), len(objects_in(tmp_path / "archive"))) == (0, 3)
    with pytest.raises(NotFound, match="archive, default"):
        call("migrate", main, "--from", "default", "--to", "nowhere")


def test_release_lets_a_file_out_and_says_who_did_it(app: Toolkit, main: str) -> None:
    with pytest.raises(FileQuarantined) as refused:
        upload(app, b"a virus")
    file_id = refused.value.file_id

    assert call("release", file_id, main, "--reason", "a false alarm") == (0, "Released '0.txt'.\n")

    async def look() -> tuple[bytes, Any]:
        (entry, *_) = await list_audit(app.services.database, object_kind="file", object_id=file_id)
        return await app.services.files.read(file_id), entry

    content, entry = app.run_standalone(look)
    assert content == b"a virus"
    assert (entry.action, entry.details) == ("file.released", {"reason": "a false alarm", "found": "EICAR"})
    assert entry.actor.startswith("operator:")
    with pytest.raises(NotFound):
        call("release", "01900000-0000-7000-8000-00000000dead", main, "--reason", "x")

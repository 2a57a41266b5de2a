"""What the command line says, without starting an application."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from toolkit.access import ApiKeyAuthenticator, parse_api_keys

ROOT = Path(__file__).parents[2]


def toolkit(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``toolkit`` as an operator would, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "toolkit.cli", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(cwd), "COLUMNS": "120", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(finished: subprocess.CompletedProcess[str]) -> str:
    """The one line that an error ends with."""
    assert finished.returncode == 2, finished.stderr
    (line,) = finished.stderr.strip().splitlines()
    assert line.startswith("toolkit: ")
    return line


def test_help_lists_the_commands_and_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, toolkit.cli.commands as c\n"
        "sys.argv = ['toolkit', '--help']\n"
        "try: c.run()\n"
        "except SystemExit: pass\n"
        "heavy = {'fastapi', 'sqlalchemy', 'pydantic_ai', 'zen', 'fsspec', 'uvicorn', 'yaml', 'toolkit.app'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    for name in ("dev", "prod", "worker", "scaffold", "key", "version"):
        assert name in finished.stdout
    assert "LOADED []" in finished.stdout


def test_version_is_that_of_the_distribution(tmp_path: Path) -> None:
    from importlib.metadata import version

    assert toolkit("version", cwd=tmp_path).stdout.strip() == version("process-toolkit")


async def test_a_new_key_is_shown_once_with_the_entry_that_lets_it_in(tmp_path: Path) -> None:
    shown = toolkit("key", "create", "erp", cwd=tmp_path).stdout

    text = next(line.strip() for line in shown.splitlines() if line.strip().startswith("tk_"))
    entry = yaml.safe_load(shown[shown.index("security:") :])["security"]["api_keys"]
    assert shown.count(text) == 1
    caller = await ApiKeyAuthenticator(parse_api_keys(entry)).authenticate({"X-API-Key": text})
    assert caller is not None
    assert caller.id == "erp"


@pytest.mark.parametrize(
    ("content", "target", "says"),
    [
        (None, "main.py", "there is no file 'main.py'"),
        ("x = 1", "main.py", "there is no Toolkit in 'main.py'"),
        ("import nowhere_to_be_found", "main.py", "main.py:1: ModuleNotFoundError: No module named 'nowhere"),
        ("def f():\n    raise KeyError('k')\nf()", "main.py", "main.py:2: KeyError: 'k'"),
        ("def broken(:", "main.py", "SyntaxError"),
        ("from toolkit import Toolkit\na = Toolkit()\nb = Toolkit()", "main.py", "say which: main.py:a"),
        ("app = 3", "main:app", "'app' in 'main' is a int, expected a Toolkit"),
    ],
)
def test_an_application_that_cannot_be_loaded_is_one_line(
    tmp_path: Path, content: str | None, target: str, says: str
) -> None:
    if content is not None:
        (tmp_path / "main.py").write_text(content, "utf-8")

    assert says in refusal(toolkit("dev", target, cwd=tmp_path))


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    finished = toolkit("dev", "--debug", cwd=tmp_path)

    assert finished.returncode != 0
    assert "Traceback" in finished.stderr


@pytest.fixture
def application(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text("from toolkit import Toolkit\n\napp = Toolkit('Empty')\n", "utf-8")
    return tmp_path


def test_dev_does_not_listen_where_others_could_reach_it(application: Path) -> None:
    for host in ("0.0.0.0", "::", "example.com"):
        line = refusal(toolkit("dev", "--host", host, cwd=application))
        assert "'dev' believes every caller" in line
        assert "toolkit key create" in line


def test_prod_does_not_start_without_authentication(application: Path) -> None:
    for content in ("", "security: {authenticator: dev}"):
        (application / "toolkit.yaml").write_text(content, "utf-8")
        line = refusal(toolkit("prod", "--port", "0", cwd=application))
        assert "'prod' does not start without authentication" in line
        assert "toolkit key create" in line


def test_a_wrong_configuration_is_one_line_that_names_the_key(application: Path) -> None:
    (application / "toolkit.yaml").write_text("server: {prt: 1}", "utf-8")

    assert "'server.prt' is not a known key; did you mean 'port'?" in refusal(toolkit("dev", cwd=application))


def test_a_port_in_use_is_one_line(application: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = refusal(toolkit("dev", "--port", str(taken.getsockname()[1]), cwd=application))

    assert "cannot listen on 127.0.0.1" in line

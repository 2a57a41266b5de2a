"""Who an operator is, whatever the environment says, and what is printed for one."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest
import yaml

from tests.cli.test_commands import refusal, toolkit
from toolkit.cli.operators import account, printable


def test_the_environment_does_not_say_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before = account()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "mallory")

    assert account() == before


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)

    assert account().startswith("uid:")


def test_a_terminal_obeys_no_stored_text() -> None:
    assert printable("red \x1b[31m\x9b1m\x7f\tand\nmore \u00e4") == "red \\x1b[31m\\x9b1m\\x7f\tand\nmore \u00e4"


@pytest.mark.parametrize("name", ["on", "null", "yes", "erp", "a: b", "\u00e4rger"])
def test_a_key_stands_in_the_configuration_under_its_name(tmp_path: Path, name: str) -> None:
    printed = toolkit("key", "create", name, cwd=tmp_path, PYTHONIOENCODING="utf-8").stdout

    keys = yaml.safe_load(printed[printed.index("security:") :])["security"]["api_keys"]
    assert list(keys) == [name]


def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path) -> None:
    place = tmp_path / "rules" / "approval"
    place.mkdir(parents=True)
    (place / "graph.json").write_text("[]")
    assert "a JSON list; expected a graph" in refusal(toolkit("rules", "export", "approval", "x.csv", cwd=tmp_path))
    (place / "graph.json").write_bytes(b"\xff")
    assert "utf-8" in refusal(toolkit("rules", "export", "approval", "x.csv", cwd=tmp_path))
    (place / "graph.json").unlink()
    (place / "graph.json").mkdir()
    assert "graph.json" in refusal(toolkit("rules", "export", "approval", "x.csv", cwd=tmp_path))

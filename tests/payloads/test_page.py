"""The codec that docs/configuration.md shows is one that works, and whose keys can be replaced."""

from __future__ import annotations

import re
import types
from pathlib import Path

import pytest
from cryptography.fernet import Fernet, InvalidToken

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_codec_of_the_page_reads_what_older_keys_have_written(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    monkeypatch.setenv("PAYLOAD_KEYS", f"{new},{old}")
    (source,) = re.findall(r"## Payload codec.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    page = types.ModuleType("page")
    exec(compile(source, str(PAGE), "exec"), vars(page))

    codec = page.app.definitions.payload_codec
    written = page.EncryptedPayloads(old).encode(b"quince")
    assert b"quince" not in written
    assert [codec.decode(written), codec.decode(codec.encode(b"medlar"))] == [b"quince", b"medlar"]
    with pytest.raises(InvalidToken):
        page.EncryptedPayloads(old).decode(codec.encode(b"medlar"))

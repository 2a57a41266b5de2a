"""The documentation of the configuration says what the code says."""

import re
from pathlib import Path
from typing import Any

import yaml

from toolkit.config import Settings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def documented() -> str:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(block)


def test_the_documented_defaults_are_the_defaults(tmp_path: Path) -> None:
    assert Settings.of(yaml.safe_load(documented()), folder=tmp_path) == Settings.defaults(folder=tmp_path)


def test_every_key_is_documented(tmp_path: Path) -> None:
    def keys(value: Any) -> set[str]:
        return set(value) | {k for v in value.values() for k in keys(v)} if isinstance(value, dict) else set()

    shown = Settings.defaults(folder=tmp_path).shown()

    assert {key for key in keys(shown) - {"env", "source", "folder"} if f"{key}:" not in documented()} == set()


def test_the_examples_in_comments_are_valid_too(tmp_path: Path) -> None:
    text = re.sub(r"^( *)# ", r"\1", documented(), flags=re.MULTILINE)
    text = re.sub(
        r"^(ai_models|  api_keys|  channels|  templates|  users|  groups): \{\}", r"\1:", text, flags=re.MULTILINE
    )

    settings = Settings.of(yaml.safe_load(text), folder=tmp_path)

    assert settings.ai_models["invoice_model"].model == "gpt-5-mini"
    assert settings.file_storage["archive"].options["endpoint_url"] == "https://minio.example.com"

"""``show``: what a run has to say to people while it goes on, kept in its journal as steps of the kind ``message``.

Nobody need answer, and nothing waits. What was shown is shown once, whatever process the run goes on in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from toolkit.errors import SerializationError
from toolkit.files import File
from toolkit.serialization import codec_for
from toolkit.workflows import StepKind, run_step

MOST_ROWS = 1000
"""What a table may have; more belongs into a file."""


async def markdown(text: str) -> None:
    """Text with CommonMark's marks."""
    await _show("markdown", {"text": text}, title=text.strip().splitlines()[0][:200] if text.strip() else "")


async def table(
    rows: Sequence[Mapping[str, Any] | BaseModel], *, columns: Sequence[str] | None = None, title: str = ""
) -> None:
    """Rows of named values; ``columns`` are those of the first row unless they are given.

    Raises:
        ValueError: there are more than ``MOST_ROWS``.
    """
    if len(rows) > MOST_ROWS:
        raise ValueError(f"a table shows at most {MOST_ROWS:,} rows, found {len(rows):,}; show a file instead")
    plain = [row.model_dump() if isinstance(row, BaseModel) else dict(row) for row in rows]
    names = list(columns) if columns is not None else list(plain[0]) if plain else []
    cells = [[row.get(name) for name in names] for row in plain]
    await _show("table", {"title": title, "columns": names, "rows": cells}, title=title)


async def file(file: File, *, caption: str = "") -> None:
    """A file, to be opened or downloaded."""
    reference = {name: getattr(file, name) for name in File.model_fields}
    await _show("file", {"file": reference, "caption": caption}, title=caption or file.filename)


async def _show(kind: str, content: Mapping[str, Any], *, title: str) -> None:
    try:
        arguments = to_json({"kind": kind, **to_jsonable_python(content)}).decode()
    except PydanticSerializationError as error:
        raise SerializationError(f"show.{kind} was given what has no JSON form: {error}") from error

    async def nothing() -> None:
        """To show is to have it on record."""

    await run_step(
        name=f"show.{kind}",
        kind=StepKind.MESSAGE,
        body=nothing,
        result=codec_for(type(None)),
        arguments=arguments,
        display_name=title or None,
    )

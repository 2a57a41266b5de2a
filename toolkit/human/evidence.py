"""Evidence: a digest of what a person was shown, kept with the answer and compared with the record later."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from toolkit.human.tables import TaskRow


class Verification(BaseModel):
    """Whether what was answered is what is on record."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    is_unchanged: bool
    changed: list[str] = Field(description="What differs, such as `input`, `files` or `output`.")
    answers: int = Field(description="How many answers were compared; a quorum has several.")


def shown(row: TaskRow, *, form_digest: str | None = None) -> dict[str, Any]:
    """SHA-256 (hexadecimal) of each part of what ``row`` shows; ``digest`` is that of all of them."""
    parts: dict[str, Any] = {
        "text": _sha256([row.title, row.description, row.message]),
        "input": _sha256(row.input),
        "suggested_data": _sha256(row.suggested_data),
        "files": [file["sha256"] for file in json.loads(row.files)],
        "form": form_digest or row.output_schema_digest,
    }
    return {"digest": _sha256(parts), **parts}


def shown_digest(row: TaskRow, *, form_digest: str | None = None) -> str:
    """What a caller may send back with an answer, to say what it was given to."""
    return str(shown(row, form_digest=form_digest)["digest"])


def testify(row: TaskRow, output: str, *, form_digest: str) -> str:
    """The evidence of one answer, as JSON text."""
    return json.dumps({**shown(row, form_digest=form_digest), "output": _sha256(output)})


def compare(evidence: str, row: TaskRow, output: str) -> set[str]:
    """Which parts of ``row`` are not what the answer was given to."""
    kept = json.loads(evidence)
    # The form is that of the moment; it is on record as its digest alone.
    now = {**shown(row, form_digest=kept["form"]), "output": _sha256(output)}
    return {part for part in kept if part != "digest" and kept[part] != now[part]} | (
        {"form"}
        if _sha256({part: kept[part] for part in ("text", "input", "suggested_data", "files", "form")})
        != kept["digest"]
        else set()
    )


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

"""Evidence: a digest of what a person was shown, kept with the answer and compared with the record later."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from toolkit.errors import FileQuarantined, InvalidInput, NotFound, StorageError
from toolkit.files import File

if TYPE_CHECKING:
    from toolkit.files import FileStore
    from toolkit.human.tables import TaskRow


class FileCheck(BaseModel):
    """Whether a file that was shown still has the bytes that were shown."""

    model_config = ConfigDict(frozen=True)

    id: str
    filename: str
    is_unchanged: bool
    problem: str = Field(default="", description="What was found instead.")


class Verification(BaseModel):
    """Whether what was answered is what is on record."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    is_unchanged: bool
    changed: list[str] = Field(description="What differs, such as `input`, `files` or `output`.")
    answers: int = Field(description="How many answers were compared; a quorum has several.")
    files: list[FileCheck] = Field(default=[], description="Each file that was shown, its bytes read again.")


def shown(row: TaskRow, *, form_digest: str | None = None) -> dict[str, Any]:
    """SHA-256 (hexadecimal) of each part of what ``row`` shows; ``digest`` is that of all of them."""
    parts: dict[str, Any] = {
        "text": _sha256([row.title, row.description, row.message]),
        "input": _sha256(row.input),
        "suggested_data": _sha256([row.suggested_data, row.confidence]),
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


async def verify_files(row: TaskRow, store: FileStore) -> list[FileCheck]:
    """Read the bytes of every file that ``row`` shows and compare their SHA-256 with that of the reference."""
    return [await _verify_file(File.model_validate(each), store) for each in json.loads(row.files)]


async def _verify_file(file: File, store: FileStore) -> FileCheck:
    problem = ""
    try:
        digest = hashlib.sha256()
        async with store.open(file.id) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
        if digest.hexdigest() != file.sha256:
            problem = f"the bytes have the SHA-256 {digest.hexdigest()}, expected {file.sha256}"
    except NotFound:
        problem = "the file is gone"
    except (FileQuarantined, InvalidInput, StorageError) as error:
        problem = f"the file cannot be read: {error}"
    return FileCheck(id=file.id, filename=file.filename, is_unchanged=not problem, problem=problem)


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

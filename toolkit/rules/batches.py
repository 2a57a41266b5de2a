"""The kept form of a batch: outputs and errors side by side, equal when they are read back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from typing_extensions import TypedDict

from toolkit import errors
from toolkit.errors import RecordedError, RuleEvaluationError
from toolkit.serialization import Codec, codec_for


class KeptError(BaseModel):
    """An error of one input, as it is stored. An error of the author's comes back as a ``RecordedError``."""

    type: str
    message: str
    attributes: dict[str, Any] = {}

    def restore(self) -> Exception:
        known = getattr(errors, self.type, None)
        if not self.attributes or not (isinstance(known, type) and issubclass(known, RuleEvaluationError)):
            return RecordedError(self.type, self.message)
        fields = {name: value for name, value in self.attributes.items() if name not in {"rule", "reason"}}
        return known(self.attributes["rule"], self.attributes["reason"], **fields)


def keep_error(error: Exception) -> KeptError:
    """``error`` in the form that is stored."""
    attributes: dict[str, Any] = {}
    if isinstance(error, RuleEvaluationError):
        attributes = {"rule": error.rule, "reason": error.reason, "node": error.node}
        if isinstance(error, errors.RuleOutputInvalid):
            attributes["errors"] = error.errors
    return KeptError(type=type(error).__name__, message=str(error), attributes=attributes)


def keep_all(decided: Sequence[Any]) -> list[Any]:
    """What the step stores."""
    return [{"error": keep_error(one)} if isinstance(one, Exception) else {"output": one} for one in decided]


def restore_all(kept: Sequence[Any]) -> list[Any]:
    """What the caller gets, the first time and on every replay."""
    return [one["error"].restore() if "error" in one else one["output"] for one in kept]


def batch_codec(output_type: type[BaseModel]) -> Codec[Any]:
    """The codec of a batch with outputs of ``output_type``."""
    fields = {"output": output_type, "error": KeptError}
    kept: Any = TypedDict("Kept", fields, total=False)  # type: ignore[misc]  # made for one output type
    return codec_for(list[kept])

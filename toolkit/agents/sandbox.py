"""The sandbox that prompts are rendered in: a template reaches nothing but its input, and cannot grow without bound.

Versions and drafts of an agent are written by people who may not change its code. Loaded only where Jinja2 is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from jinja2 import StrictUndefined, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from toolkit.agents.prompts import as_text

LONGEST: Final = 10_000_000
"""Characters of a prompt, or of a part of it; no model reads as many."""
_LARGEST_BITS: Final = 100_000
"""Of a number that is multiplied."""


def _concat(parts: Iterable[str]) -> str:
    found, length = [], 0
    for part in parts:
        length += len(part)
        if length > LONGEST:
            raise SecurityError(f"it becomes longer than {LONGEST:,} characters")
        found.append(part)
    return "".join(found)


@pass_context
def _written(_: Context, value: Any) -> Any:
    """``value`` as text. What takes a context waits for the rendering; else constants are computed in the compiler."""
    return as_text(value)


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """Nothing is computed when a template is compiled, and nothing grows without bound when it is rendered."""

    intercepted_binops = frozenset({"*", "**"})
    concat = staticmethod(_concat)

    def __init__(self) -> None:
        # No escaping: this is text for a model, not HTML.
        super().__init__(
            undefined=StrictUndefined,
            finalize=_written,
            autoescape=False,
            keep_trailing_newline=True,
            optimized=False,
        )

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """``left * right`` or ``left ** right``.

        Raises:
            SecurityError: it would become too large.
        """
        if operator == "**":
            grows = isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > _LARGEST_BITS
        elif isinstance(left, int) and isinstance(right, int):
            grows = left.bit_length() + right.bit_length() > _LARGEST_BITS
        else:
            one, other = (right, left) if isinstance(left, int) else (left, right)
            grows = hasattr(one, "__len__") and isinstance(other, int) and len(one) * other > LONGEST
        if grows:
            raise SecurityError(f"{operator!r} would make something too large")
        return super().call_binop(context, operator, left, right)

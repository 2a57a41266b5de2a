"""Numbers as the engine can hold them: 96 bits for the digits, of which at most 28 are decimal places."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from toolkit.errors import InvalidInput

LARGEST = 2**96 - 1
_MOST_PLACES = 28

_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)  # more digits than any number that is rounded here ends with
# JSON text with every digit and point as 0: to look for a few bytes takes a tenth of what an expression takes.
_SHAPE = bytes.maketrans(b"123456789.-E", b"0000000000+e")
_LONG = b"0" * 29
_EXPONENT = re.compile(rb"[0-9][eE][+-]?[0-9]{2,}[,}\]]")


def may_need_fitting(text: bytes) -> bool:
    """Whether JSON text holds what looks like a number that :func:`fitted` would change or refuse."""
    shape = text.translate(_SHAPE)
    if _LONG in shape:
        return True
    # Ids in hexadecimal have such a part, too, but no bracket or comma behind it.
    return (b"0e00" in shape or b"0e+00" in shape) and _EXPONENT.search(text) is not None


def fitted(value: Any, *, rule: str, at: str = "") -> Any:
    """What was dumped from a model, with no more digits in its decimals than the engine holds; half goes to even.

    The engine would take a longer one for a binary fraction, of which 16 digits are left.

    Raises:
        InvalidInput: a number is larger than any that the engine knows; names the field.
    """
    if isinstance(value, dict):
        return {name: fitted(part, rule=rule, at=f"{at}.{name}" if at else str(name)) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [fitted(part, rule=rule, at=f"{at}.{index}" if at else str(index)) for index, part in enumerate(value)]
    if isinstance(value, Decimal) and value.is_finite():
        if (rounded := _rounded(value)) is None:
            raise _too_large(value, rule=rule, at=at)
        return rounded
    if isinstance(value, (int, float)) and abs(value) > LARGEST:
        raise _too_large(Decimal(value), rule=rule, at=at)
    return value


def _rounded(value: Decimal) -> Decimal | None:
    """``value`` in 96 bits and 28 decimal places; nothing where it is too large."""
    if not value:
        return value if 0 <= _places(value) <= _MOST_PLACES else Decimal(0)
    if value.adjusted() > _MOST_PLACES:
        return None
    most = _MOST_PLACES - max(value.adjusted(), 0)
    for places in (most, most - 1):  # 29 digits, if 96 bits hold just these, or 28
        rounded = value if _places(value) <= places else value.quantize(Decimal((0, (1,), -places)), context=_CONTEXT)
        digits = rounded.scaleb(max(_places(rounded), 0), _CONTEXT)
        if -LARGEST <= digits <= LARGEST:
            return rounded
    return None


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0  # text in what is not finite


def _too_large(value: Decimal, *, rule: str, at: str) -> InvalidInput:
    # How long it is and not the number itself, which may be nobody's business.
    wanted, found = f"numbers up to {LARGEST} in size", f"a number of {value.adjusted() + 1} digits"
    return InvalidInput(
        f"a graph of rule {rule!r} takes {wanted}, found {found} in {at!r}",
        errors=[{"loc": at, "msg": f"a graph takes {wanted}; found {found}", "type": "number_too_large"}],
    )

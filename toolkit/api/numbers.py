"""Numbers of a body that a binary float cannot hold."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

import msgspec

# Up to fifteen digits and a small exponent survive a float; only what may be longer is looked at.
_MAY_BE_LONG = re.compile(rb"[0-9][0-9.]{15}|[eE][+-]?[0-9]{3}")


def keep_digits(text: bytes) -> bytes:
    """The JSON ``text``, where each fraction that would lose digits as a float is a string instead.

    Pydantic reads every fraction of a JSON text as a float before it makes a ``Decimal`` of it, so that
    ``1000000000000000.01`` loses its cent; from a string it reads every digit, for a ``float`` and a ``Decimal`` alike.
    All other values stay as they are.

    Raises:
        msgspec.DecodeError, RecursionError: the text is not JSON, has an exponent of absurd size, or is nested too
            deeply.
    """
    if _MAY_BE_LONG.search(text) is None:
        return text
    return msgspec.json.encode(_decoder.decode(text))


def _float_or_text(token: str) -> float | str:
    number = float(token)
    try:
        return number if Decimal(repr(number)) == Decimal(token) else token
    except InvalidOperation as error:
        raise ValueError(f"the exponent of the number {token[:40]} is beyond all that can be kept") from error


_decoder = msgspec.json.Decoder(float_hook=_float_or_text)

"""E-mail addresses of people: checked when they are taken in, because nobody reads the error of a letter."""

from __future__ import annotations

import re

LONGEST_ADDRESS = 254
"""Octets. Source: RFC 5321, section 4.5.3.1.3, less the two angle brackets; 64 before the ``@``, 63 in a label."""

_BEFORE = r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\x7f])+"
_LABEL = r"(?!-)(?:[A-Za-z0-9-]|[^\x00-\x7f]){1,63}(?<!-)"
_ADDRESS = re.compile(rf"({_BEFORE}(?:\.{_BEFORE})*)@{_LABEL}(?:\.{_LABEL})*")


def check_address(address: str) -> str:
    """``address`` itself, if it is one address as RFC 5321 writes it: no quotes, no comments, letters of any script.

    Stricter than the standard on purpose: what may be quoted may also be taken for a list, a group or an encoded word
    by one of the many programs that read a header.

    Raises:
        ValueError: it is not.
    """
    found = _ADDRESS.fullmatch(address)
    is_fit = (
        found is not None
        and address.isprintable()  # of other scripts: no separators, no controls, no half of a surrogate pair
        and "=?" not in address
        and len(found[1].encode()) <= 64
        and len(address.encode()) <= LONGEST_ADDRESS
    )
    if not is_fit:
        raise ValueError(
            f"{address[:80]!r} is no e-mail address to write to; expected one address and nothing else, such as "
            f"'ada@example.com', of at most {LONGEST_ADDRESS} characters"
        )
    return address

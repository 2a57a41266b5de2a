"""Filenames: a user's name for a file becomes a label that is safe to show and to save anywhere, and nothing more.

No path is ever built from it.
"""

from __future__ import annotations

import unicodedata
from typing import Final

LONGEST_BYTES: Final = 255
"""Of UTF-8; what common file systems take for one name."""

NAMELESS: Final = "file"

# Invisible characters that some scripts need to be written correctly.
_JOINERS = {"\u200c", "\u200d"}
# Control, format (among them those that turn the reading direction), half of a pair, unassigned, line separators.
_UNWANTED = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
# Not allowed in a name on Windows, where `name:other` would also be another stream of the same file.
_FORBIDDEN = str.maketrans(dict.fromkeys('<>:"|?*', "_"))
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{device}{digit}" for device in ("COM", "LPT") for digit in "123456789¹²³")}
_LONGEST_SUFFIX = 32


def clean_filename(name: str) -> str:
    """``name`` as a label: its last path component, in NFC, without invisible characters, at most 255 bytes.

    Its suffix is kept when it has to be shortened.
    """
    visible = "".join(
        character for character in name if character in _JOINERS or unicodedata.category(character) not in _UNWANTED
    )
    last = unicodedata.normalize("NFC", visible).replace("\\", "/").rstrip("/ ").rpartition("/")[2]
    label = last.translate(_FORBIDDEN).strip().rstrip(". ")
    if label.partition(".")[0].strip().upper() in _RESERVED:
        label = f"_{label}"
    if not label.strip(". \u200c\u200d"):
        return NAMELESS
    return _shorten(label.strip())


def suffix_of(label: str) -> str:
    """The suffix with its dot in lower case, such as ``".pdf"``; empty where there is none."""
    stem, dot, suffix = label.rpartition(".")
    return f".{suffix}".lower() if dot and stem and suffix else ""


def _shorten(label: str) -> str:
    if len(label.encode()) <= LONGEST_BYTES:
        return label
    suffix = label[-len(suffix_of(label)) :] if suffix_of(label) else ""
    if len(suffix.encode()) > _LONGEST_SUFFIX:
        suffix = ""
    stem = label.removesuffix(suffix).encode()[: LONGEST_BYTES - len(suffix.encode())]
    return stem.decode(errors="ignore").rstrip() + suffix

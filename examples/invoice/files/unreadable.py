"""Why a file cannot be read as an invoice, for the business person who has to ask the seller for another one."""

from __future__ import annotations

from enum import StrEnum

from toolkit.errors import FatalError


class Fault(StrEnum):
    """What is wrong with a file."""

    BROKEN_PDF = "broken_pdf"
    ENCRYPTED_PDF = "encrypted_pdf"
    BROKEN_XML = "broken_xml"
    UNSAFE_XML = "unsafe_xml"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    UNKNOWN_FORMAT = "unknown_format"
    MISSING_FIELD = "missing_field"


class UnreadableFile(FatalError):
    """The file is not an invoice that can be read, and trying again will not change that; see ``fault``."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault

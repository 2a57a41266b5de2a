"""XML from strangers, parsed without DTD, entities or network, and with a limit on its size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from lxml import etree

from examples.invoice.files.unreadable import Fault, UnreadableFile
from examples.invoice.invoice_data import one_line

MAX_XML_BYTES = 5_000_000
_DECIMAL = re.compile(r"[+-]?\d{1,15}(\.\d{1,10})?")


def parse_xml(data: bytes) -> Element:
    """The root of the XML document ``data``.

    Raises:
        UnreadableFile: larger than 5 MB, not well-formed, or carrying a document type declaration.
    """
    if len(data) > MAX_XML_BYTES:
        raise UnreadableFile(
            Fault.TOO_LARGE, f"the XML is {len(data)} bytes large, the limit is {MAX_XML_BYTES}; ask for a smaller one"
        )
    # Before the parser sees it: an entity declared in a DTD would be held in memory even when it is never expanded.
    if b"<!DOCTYPE" in data.replace(b"\x00", b""):  # zero bytes are what UTF-16 puts between ASCII letters
        raise _doctype()
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnreadableFile(Fault.BROKEN_XML, f"the XML is not well-formed: {error}") from error
    if root.getroottree().docinfo.doctype:  # an encoding in which the search above did not find it
        raise _doctype()
    return Element(root, {})


def _doctype() -> UnreadableFile:
    return UnreadableFile(Fault.UNSAFE_XML, "the XML declares a document type (DTD), which no e-invoice needs; refused")


class Element:
    """One XML element, asked by XPath for typed values. ``namespaces`` gives the prefixes the paths use."""

    def __init__(self, node: Any, namespaces: Mapping[str, str]) -> None:
        self._node = node
        self._namespaces = namespaces

    @property
    def tag(self) -> str:
        """Name with namespace, as ``{namespace}name``."""
        return str(self._node.tag)

    def using(self, namespaces: Mapping[str, str]) -> Element:
        """The same element with other prefixes."""
        return Element(self._node, namespaces)

    def all(self, path: str) -> list[Element]:
        return [Element(node, self._namespaces) for node in self._node.xpath(path, namespaces=self._namespaces)]

    def first(self, path: str) -> Element | None:
        return next(iter(self.all(path)), None)

    def one(self, path: str, term: str) -> Element:
        """The element at ``path``; ``term`` names it in the error when it is not there.

        Raises:
            UnreadableFile: there is none.
        """
        found = self.first(path)
        if found is None:
            raise UnreadableFile(Fault.MISSING_FIELD, f"the e-invoice has no {term}; expected it at {path!r}")
        return found

    def text(self, path: str = ".") -> str:
        """The text at ``path`` on one line, or ``""``."""
        nodes = self._node.xpath(path, namespaces=self._namespaces)
        return one_line("".join(nodes[0].itertext())) if nodes else ""

    def texts(self, path: str) -> list[str]:
        return [element.text() for element in self.all(path)]

    def required_text(self, path: str, term: str) -> str:
        text = self.one(path, term).text()
        if not text:
            raise UnreadableFile(Fault.MISSING_FIELD, f"the e-invoice has an empty {term}")
        return text

    def attribute(self, name: str) -> str:
        return str(self._node.get(name, "")).strip()

    def amount(self, path: str) -> Decimal | None:
        """The number at ``path``, or None when there is none.

        Raises:
            UnreadableFile: something stands there that is no decimal number.
        """
        text = self.text(path)
        if not text:
            return None
        if not _DECIMAL.fullmatch(text):
            raise UnreadableFile(Fault.MISSING_FIELD, f"found {text[:40]!r} at {path!r}, expected a decimal number")
        return Decimal(text)

    def required_amount(self, path: str, term: str) -> Decimal:
        self.one(path, term)
        amount = self.amount(path)
        if amount is None:
            raise UnreadableFile(Fault.MISSING_FIELD, f"the e-invoice has an empty {term}")
        return amount

    def day(self, path: str) -> date | None:
        """The date at ``path``, as ``2024-11-15`` or ``20241115``, or None when there is none.

        Raises:
            UnreadableFile: something stands there that is no such date.
        """
        text = self.text(path)
        if not text:
            return None
        form = "%Y%m%d" if re.fullmatch(r"\d{8}", text) else "%Y-%m-%d"
        try:
            return datetime.strptime(text[:10], form).date()  # noqa: DTZ007  an invoice's date has no time zone
        except ValueError as error:
            raise UnreadableFile(
                Fault.MISSING_FIELD, f"found {text[:40]!r} at {path!r}, expected a date such as 2024-11-15 or 20241115"
            ) from error

    def required_day(self, path: str, term: str) -> date:
        self.one(path, term)
        day = self.day(path)
        if day is None:
            raise UnreadableFile(Fault.MISSING_FIELD, f"the e-invoice has an empty {term}")
        return day

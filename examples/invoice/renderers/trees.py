"""Builds XML trees from nested calls, and writes them as bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from lxml import etree

from examples.invoice.arithmetic import to_cent

Make = Callable[..., Any]
Child = Any
"""A text, an element, or None for what is left out."""


def maker(namespaces: Mapping[str, str]) -> Make:
    """A function ``make("cbc:ID", child, ..., currencyID="EUR")`` that builds elements of these ``namespaces``."""

    def make(name: str, *children: Child, **attributes: str) -> Any:
        prefix, _, tag = name.partition(":")
        element = etree.Element(f"{{{namespaces[prefix]}}}{tag}", nsmap=dict(namespaces))
        for key, value in attributes.items():
            element.set(key, value)
        for child in children:
            if isinstance(child, str):
                element.text = child
            elif child is not None:
                element.append(child)
        return element

    return make


def to_bytes(root: Any) -> bytes:
    """``root`` as indented UTF-8 with a declaration, the same bytes each time."""
    etree.cleanup_namespaces(root)
    etree.indent(root, space="  ")
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8")) + b"\n"


def money(amount: Decimal) -> str:
    return f"{to_cent(amount):f}"

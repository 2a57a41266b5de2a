"""Decision graphs in JDM as plain values; :mod:`toolkit.rules.documents` reads them from an upload."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import NoneType
from typing import Any, Literal, TypeAlias

NodeType = Literal[
    "inputNode", "outputNode", "decisionTableNode", "expressionNode", "switchNode", "functionNode", "decisionNode"
]


@dataclass(frozen=True, slots=True)
class Column:
    id: str
    name: str
    field: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a decision table: the texts of its cells by column id; empty cells are left out."""

    id: str
    cells: dict[str, str]
    path: str


@dataclass(frozen=True, slots=True)
class DecisionTable:
    hit_policy: Literal["first", "collect"]
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    key: str
    value: str
    path: str


@dataclass(frozen=True, slots=True)
class Statement:
    id: str
    condition: str
    is_default: bool
    path: str


@dataclass(frozen=True, slots=True)
class Switch:
    hit_policy: Literal["first", "collect"]
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """JavaScript: an ES module that exports ``handler``."""

    source: str


@dataclass(frozen=True, slots=True)
class SubDecision:
    """Another rule's version: ``limits`` for the one that is active at the upload, or ``limits@3``."""

    key: str
    path: str


Content: TypeAlias = DecisionTable | tuple[Assignment, ...] | Switch | Function | SubDecision | None


@dataclass(frozen=True, slots=True)
class Node:
    """A node with its content; ``passes_through`` and the rest are shared by tables, expressions and sub-decisions."""

    id: str
    name: str
    type: NodeType
    content: Content
    path: str
    passes_through: bool = False
    loops: bool = False
    input_field: str | None = None
    output_path: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it reads the whole context once and puts its output at the top."""
        return not (self.loops or self.input_field or self.output_path)


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    target: str
    handle: str | None
    path: str


@dataclass(frozen=True)
class Graph:
    """A graph whose parts are well formed. Whether it makes sense is for :mod:`toolkit.rules.validation` to say."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    by_id: dict[str, Node] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {node.id: node for node in self.nodes})

    @cached_property
    def _neighbours(self) -> tuple[dict[str, list[Node]], dict[str, list[Node]]]:
        parents: dict[str, list[Node]] = {node.id: [] for node in self.nodes}
        children: dict[str, list[Node]] = {node.id: [] for node in self.nodes}
        for edge in self.edges:
            if edge.source in self.by_id and edge.target in self.by_id:
                parents[edge.target].append(self.by_id[edge.source])
                children[edge.source].append(self.by_id[edge.target])
        return parents, children

    def parents(self, node: Node) -> Sequence[Node]:
        return self._neighbours[0][node.id]

    def children(self, node: Node) -> Sequence[Node]:
        return self._neighbours[1][node.id]

    def of_type(self, type: NodeType) -> list[Node]:
        return [node for node in self.nodes if node.type == type]

    def tables(self) -> Iterator[tuple[Node, DecisionTable]]:
        for node in self.nodes:
            if isinstance(node.content, DecisionTable):
                yield node, node.content

    @cached_property
    def order(self) -> tuple[Node, ...]:
        """The nodes so that parents come first; nodes on a cycle, and those behind one, are left out."""
        waiting = {node.id: len(self.parents(node)) for node in self.nodes}
        ready = [node for node in self.nodes if waiting[node.id] == 0]
        for node in ready:
            for child in self.children(node):
                waiting[child.id] -= 1
                if waiting[child.id] == 0:
                    ready.append(child)  # the list is the queue: it ends when nothing is ready
        return tuple(ready)

    @cached_property
    def is_chain(self) -> bool:
        """Whether it is one line of tables and expressions from the input to the output."""
        return (
            all(len(self.parents(node)) <= 1 and len(self.children(node)) <= 1 for node in self.nodes)
            and len(self.order) == len(self.nodes) == len(self.edges) + 1
            and all(isinstance(node.content, (DecisionTable, tuple, NoneType)) for node in self.nodes)
            and self.order[0].type == "inputNode"
            and self.order[-1].type == "outputNode"
        )


def canonical_json(document: Any) -> str:
    """JSON text in which equal documents are equal: keys sorted, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(text: str) -> str:
    """The SHA-256 of ``text``, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()

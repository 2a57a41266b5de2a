"""What changed between two graphs, as their authors would say it: rows, cells and conditions, not lines of JSON."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from toolkit.rules.graphs import Assignment, Column, DecisionTable, Function, Graph, Node, Row, SubDecision, Switch

ChangeKind = Literal[
    "node_added",
    "node_removed",
    "node_renamed",
    "setting_changed",
    "column_added",
    "column_removed",
    "column_changed",
    "row_added",
    "row_removed",
    "row_moved",
    "cell_changed",
    "expression_added",
    "expression_removed",
    "expression_changed",
    "condition_added",
    "condition_removed",
    "condition_changed",
    "function_changed",
    "edge_added",
    "edge_removed",
]


class Change(BaseModel):
    """One difference. ``row`` is the id of a table's row, ``field`` a column, an expression's key or a setting."""

    model_config = ConfigDict(frozen=True)

    kind: ChangeKind
    node: str
    row: str | None = None
    field: str | None = None
    before: Any = None
    after: Any = None
    text: str
    """The difference in words."""


def compare(before: Graph, after: Graph) -> list[Change]:
    """Every difference in meaning; where a node lies on the canvas is none. Nodes and rows are known by their ids."""
    return [*_nodes(before, after), *_edges(before, after)]


def _nodes(before: Graph, after: Graph) -> Iterator[Change]:
    for node in before.nodes:
        if node.id not in after.by_id:
            yield Change(kind="node_removed", node=node.name, text=f"{node.name} was removed")
    for node in after.nodes:
        known = before.by_id.get(node.id)
        if known is None or known.type != node.type:
            yield Change(kind="node_added", node=node.name, text=f"{node.name} was added")
        else:
            yield from _node(known, node)


def _node(before: Node, after: Node) -> Iterator[Change]:
    name = after.name
    if before.name != name:
        text = f"{before.name} is now called {name}"
        yield Change(kind="node_renamed", node=name, before=before.name, after=name, text=text)
    for setting in ("passes_through", "loops", "input_field", "output_path"):
        yield from _setting(name, setting, getattr(before, setting), getattr(after, setting))
    old, new = before.content, after.content
    if isinstance(old, DecisionTable) and isinstance(new, DecisionTable):
        yield from _table(name, old, new)
    elif isinstance(old, Switch) and isinstance(new, Switch):
        yield from _setting(name, "hit_policy", old.hit_policy, new.hit_policy)
        yield from _switch(name, old, new)
    elif isinstance(old, tuple) and isinstance(new, tuple):
        yield from _expressions(name, old, new)
    elif isinstance(old, SubDecision) and isinstance(new, SubDecision):
        yield from _setting(name, "key", old.key, new.key)
    elif isinstance(old, Function) and isinstance(new, Function) and old.source != new.source:
        text = f"{name}: its JavaScript was changed"
        yield Change(kind="function_changed", node=name, before=old.source, after=new.source, text=text)


def _setting(node: str, setting: str, before: Any, after: Any) -> Iterator[Change]:
    if before != after:
        text = f"{node}: {setting.replace('_', ' ')} was {_shown(before)}, is {_shown(after)}"
        yield Change(kind="setting_changed", node=node, field=setting, before=before, after=after, text=text)


def _table(node: str, before: DecisionTable, after: DecisionTable) -> Iterator[Change]:
    yield from _setting(node, "hit_policy", before.hit_policy, after.hit_policy)
    columns = {column.id: column for column in (*before.inputs, *before.outputs)}
    now = {column.id: column for column in (*after.inputs, *after.outputs)}
    yield from _columns(node, columns, now)
    old, new = {row.id: row for row in before.rows}, {row.id: row for row in after.rows}
    for id_, row in old.items():
        if id_ not in new:
            number = before.rows.index(row) + 1
            yield Change(kind="row_removed", node=node, row=id_, text=f"{node}: row {number} was removed")
    common = [id_ for id_ in new if id_ in old]
    places = {row.id: number for number, row in enumerate(before.rows, start=1)}
    stay = _longest_rise([places[id_] for id_ in common])
    for number, row in enumerate(after.rows, start=1):
        known = old.get(row.id)
        if known is None:
            yield Change(kind="row_added", node=node, row=row.id, text=f"{node}: row {number} was added")
            continue
        if places[row.id] not in stay:
            text = f"{node}: row {places[row.id]} is now row {number}"
            yield Change(kind="row_moved", node=node, row=row.id, before=places[row.id], after=number, text=text)
        yield from _cells(node, number, known, row, columns | now)


def _columns(node: str, before: Mapping[str, Column], after: Mapping[str, Column]) -> Iterator[Change]:
    for id_, column in before.items():
        if id_ not in after:
            text = f"{node}: the column {column.name} was removed"
            yield Change(kind="column_removed", node=node, field=column.name, text=text)
    for id_, column in after.items():
        known = before.get(id_)
        if known is None:
            text = f"{node}: the column {column.name} was added"
            yield Change(kind="column_added", node=node, field=column.name, text=text)
        elif known.field != column.field:
            text = f"{node}: the column {column.name} read {_shown(known.field)}, reads {_shown(column.field)}"
            yield Change(
                kind="column_changed",
                node=node,
                field=column.name,
                before=known.field,
                after=column.field,
                text=text,
            )


def _cells(node: str, number: int, before: Row, after: Row, columns: Mapping[str, Column]) -> Iterator[Change]:
    for id_ in dict.fromkeys((*before.cells, *after.cells)):
        old, new = before.cells.get(id_), after.cells.get(id_)
        if _squeezed(old) != _squeezed(new) and id_ in columns:
            name = columns[id_].name
            yield Change(
                kind="cell_changed",
                node=node,
                row=after.id,
                field=name,
                before=old,
                after=new,
                text=f"{node}, row {number}, {name}: was {_shown(old)}, is {_shown(new)}",
            )


def _expressions(node: str, before: Sequence[Assignment], after: Sequence[Assignment]) -> Iterator[Change]:
    old, new = {one.key: one.value for one in before}, {one.key: one.value for one in after}
    for key in dict.fromkeys((*old, *new)):
        yield from _text_changed("expression", node, key, old.get(key), new.get(key))


def _switch(node: str, before: Switch, after: Switch) -> Iterator[Change]:
    old, new = ({one.id: one.condition for one in switch.statements} for switch in (before, after))
    for id_ in dict.fromkeys((*old, *new)):
        yield from _text_changed("condition", node, id_, old.get(id_), new.get(id_))


def _text_changed(
    what: Literal["expression", "condition"], node: str, key: str, before: str | None, after: str | None
) -> Iterator[Change]:
    if (before is None) == (after is None) and _squeezed(before) == _squeezed(after):
        return
    change = "added" if before is None else "removed" if after is None else "changed"
    told = {
        "added": f"{key} was added: {_shown(after)}",
        "removed": f"{key} was removed: {_shown(before)}",
        "changed": f"{key} was {_shown(before)}, is {_shown(after)}",
    }
    kind: ChangeKind = f"{what}_{change}"  # type: ignore[assignment]  # six of the literals
    yield Change(kind=kind, node=node, field=key, before=before, after=after, text=f"{node}: {told[change]}")


def _edges(before: Graph, after: Graph) -> Iterator[Change]:
    old, new = _ends(before), _ends(after)
    for kind, edges, others, names in (("edge_removed", old, new, before), ("edge_added", new, old, after)):
        for source, target, handle in sorted(edges - others, key=str):
            ends = [names.by_id[end].name if end in names.by_id else end for end in (source, target)]
            by = f" by {handle}" if handle else ""
            verb = "no longer leads" if kind == "edge_removed" else "now leads"
            text = f"{ends[0]} {verb} to {ends[1]}{by}"
            yield Change(kind=kind, node=ends[0], field=handle, after=ends[1], text=text)


def _ends(graph: Graph) -> set[tuple[str, str, str | None]]:
    return {(edge.source, edge.target, edge.handle) for edge in graph.edges}


def _longest_rise(numbers: Sequence[int]) -> set[int]:
    """The longest rising subsequence: the rows that stayed where they were, around which others moved."""
    tails: list[int] = []
    at: list[int] = []
    for number in numbers:
        place = bisect_left(tails, number)
        tails[place : place + 1] = [number]
        at.append(place)
    kept: set[int] = set()
    wanted = len(tails) - 1
    for number, place in zip(reversed(numbers), reversed(at), strict=True):
        if place == wanted:
            kept.add(number)
            wanted -= 1
    return kept


def _squeezed(text: str | None) -> str:
    return " ".join((text or "").split())


def _shown(value: Any) -> str:
    return "empty" if value in {None, ""} else f"`{value}`"

"""A decision table as a sheet of text, for people who think in spreadsheets, and back.

The first row says what each column is: ``if total`` is compared with the field ``total``, ``if`` alone is a whole
condition, ``then approved`` fills the field ``approved``, ``row`` is the row's id and ``note`` its description. Cells
are expressions as in the graph: texts stand in quotes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from toolkit.errors import InvalidInput, NotFound
from toolkit.rules.documents import MOST_CELLS, MOST_ROWS

Sheet: TypeAlias = list[list[str]]
Side: TypeAlias = Literal["inputs", "outputs"]

ID, NOTE = "row", "note"
_SIDES: dict[str, Side] = {"if": "inputs", "then": "outputs"}
_WORDS: dict[Side, str] = {"inputs": "if", "outputs": "then"}
_EXPECTED = "expected 'row', 'note', 'if', 'if FIELD' or 'then FIELD'"


def tables_in(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The contents of the decision tables in a graph, by the names of their nodes."""
    return {
        str(node.get("name") or node.get("id")): node.setdefault("content", {})
        for node in document.get("nodes", ())
        if isinstance(node, dict) and node.get("type") == "decisionTableNode"
    }


def find_table(document: Mapping[str, Any], name: str | None) -> tuple[str, dict[str, Any]]:
    """One table of a graph and its name; the only one, where none is named.

    Raises:
        NotFound: the graph has no table of this name.
        InvalidInput: none is named, and the graph has not exactly one.
    """
    tables = tables_in(document)
    if name is None:
        if len(tables) != 1:
            found = ", ".join(map(repr, tables)) or "none"
            raise InvalidInput(f"say which table is meant: the graph has {len(tables)} tables ({found})")
        return next(iter(tables.items()))
    if name not in tables:
        raise NotFound("table", name, known=list(tables))
    return name, tables[name]


def to_sheet(content: Mapping[str, Any]) -> Sheet:
    """The columns and rows of a table, the header first."""
    columns = [(side, column) for side in _WORDS for column in content.get(side, ())]
    header = [ID, *(f"{_WORDS[side]} {column.get('field') or ''}".strip() for side, column in columns), NOTE]
    rows = [
        [str(row.get("_id") or ""), *(str(row.get(column["id"]) or "") for _, column in columns), _note(row)]
        for row in content.get("rules", ())
    ]
    return [header, *rows]


def from_sheet(sheet: Sequence[Sequence[str]], content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with the columns and rows of ``sheet``; columns that were there keep their ids and names.

    Raises:
        InvalidInput: the header or a row is not as it must be; one entry each.
    """
    if not sheet or not any(cell.strip() for cell in sheet[0]):
        raise InvalidInput(f"the sheet is empty; the first row names the columns: {_EXPECTED}")
    header = [cell.strip() for cell in sheet[0]]
    while header and not header[-1]:
        header.pop()
    body = [list(row) for row in sheet[1:] if any(cell.strip() for cell in row)]
    if len(body) > MOST_ROWS or len(body) * len(header) > MOST_CELLS:
        message = f"the sheet has {len(body)} rows and {len(header)} columns; at most {MOST_ROWS} rows and "
        raise InvalidInput(f"{message}{MOST_CELLS} cells are allowed")
    columns = _columns(header, content)
    rows = _rows(body, header, [ids for _, ids in columns])
    made: dict[str, Any] = {"inputs": [], "outputs": []}
    for side, column in (one for one, _ in columns if one is not None):
        made[side].append(column)
    return {**content, **made, "rules": rows}


def _columns(header: Sequence[str], content: Mapping[str, Any]) -> list[tuple[tuple[Side, dict[str, Any]] | None, str]]:
    """For each column of the sheet the column of the table, if it is one, and the key of its cells."""
    known = {side: list(content.get(side, ())) for side in ("inputs", "outputs")}
    taken = {str(column.get("id")) for columns in known.values() for column in columns}
    found: list[tuple[tuple[Side, dict[str, Any]] | None, str]] = []
    wrong: list[dict[str, Any]] = []
    for number, title in enumerate(header, start=1):
        if title in {ID, NOTE}:
            found.append((None, {ID: "_id", NOTE: "_description"}[title]))
            continue
        word, _, field = title.partition(" ")
        side, field = _SIDES.get(word), field.strip()
        if side is None or (side == "outputs" and not field):
            message = f"column {number} is called {title!r}; {_EXPECTED}"
            wrong.append({"loc": f"column {number}", "msg": message, "type": "unknown_column"})
            continue
        column = next((one for one in known[side] if (one.get("field") or "") == field), None)
        if column is not None:
            known[side].remove(column)  # a title that comes twice is two columns
        else:
            column = {"id": _new(f"{word}-{field or 'condition'}", taken), "name": field or "condition"}
            column |= {"field": field} if field else {}
        found.append(((side, column), str(column["id"])))
    titles = [title for title in header if title and title != "if"]
    wrong += [
        {"loc": "header", "msg": f"two columns are called {title!r}", "type": "duplicate_column"}
        for title in dict.fromkeys(title for title in titles if titles.count(title) > 1)
    ]
    if wrong:
        raise InvalidInput(f"the header is wrong: {wrong[0]['msg']}", errors=wrong)
    return found


def _rows(body: Iterable[Sequence[str]], header: Sequence[str], keys: Sequence[str]) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    wrong: list[dict[str, Any]] = []
    taken: set[str] = set()
    for number, cells in enumerate(body, start=1):
        if any(cell.strip() for cell in cells[len(header) :]):
            message = f"row {number} has a cell beyond the {len(header)} columns of the header"
            wrong.append({"loc": f"row {number}", "msg": message, "type": "too_many_cells"})
        row = {key: cell.strip() for key, cell in zip(keys, cells, strict=False) if cell.strip()}
        if row.get("_id") in taken:
            message = f"two rows have the id {row['_id']!r}"
            wrong.append({"loc": f"row {number}", "msg": message, "type": "duplicate_id"})
        taken.add(row.get("_id", ""))
        rows.append(row)
    if wrong:
        raise InvalidInput(f"the sheet has {len(wrong)} error(s): {wrong[0]['msg']}", errors=wrong)
    return [{"_id": row.get("_id") or _new(f"row-{number}", taken)} | row for number, row in enumerate(rows, start=1)]


def _note(row: Mapping[str, Any]) -> str:
    return str(row.get("_description") or "")


def _new(wanted: str, taken: set[str]) -> str:
    """``wanted``, or something like it that nobody has yet."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    taken.add(name)
    return name

"""Which rows of a graph's tables were reached, and which never."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict

from toolkit.rules.compilation import Compiled


class Coverage(BaseModel):
    """``hits`` says how often each row matched, ``never_hit`` which rows did not. A row is ``table/row id``."""

    model_config = ConfigDict(frozen=True)

    rows: int
    hit: int
    percent: int
    """Of the rows, rounded down; 100 where there are none."""
    never_hit: list[str]
    hits: dict[str, int]


def cover(compiled: Compiled, counts: Iterable[Mapping[str, int]]) -> Coverage:
    """The coverage of ``compiled`` by evaluations, each with the rows that matched and how often."""
    hits = {label: 0 for table in compiled.tables for label in table.labels}
    for matched in counts:
        for row, count in matched.items():
            if row in hits:
                hits[row] += count
    never = [row for row, count in hits.items() if not count]
    hit = len(hits) - len(never)
    return Coverage(
        rows=len(hits),
        hit=hit,
        percent=100 * hit // len(hits) if hits else 100,
        never_hit=never,
        hits={row: count for row, count in hits.items() if count},
    )

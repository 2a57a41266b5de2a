"""Graphs that mean harm: each attack that is known to hang, fill or end the process of a rule engine."""

from __future__ import annotations

import json
from typing import Any

from tests.rules.policies import chain, encode, expression_node, table_node


def javascript(body: str) -> dict[str, Any]:
    source = f"import http from 'http'; export const handler = async (input) => {{ {body} }}"
    return chain({"type": "functionNode", "content": {"source": source}})


def with_schema(reference: str) -> dict[str, Any]:
    graph = chain(expression_node({"approved": "true"}))
    graph["nodes"][0]["content"] = {"schema": json.dumps({"$ref": reference})}
    return graph


def nested(depth: int) -> bytes:
    return encode(chain(expression_node({"approved": "true"}))).replace(
        b'"edges"', b'"deep": ' + b"[" * depth + b"]" * depth + b', "edges"'
    )


def doubling(condition: str) -> dict[str, Any]:
    steps = {f"x{n}": f"{condition} ? $.x{n - 1} + $.x{n - 1} : 'a'" for n in range(1, 41)}
    return chain(expression_node({"x0": "'aaaaaaaaaaaaaaaa'", **steps, "approved": "len($.x40) > 0"}))


def refused(server: str, secret: str) -> dict[str, bytes]:
    """What an upload must not survive, by name. ``server`` and ``secret`` are what must not be reached."""
    node = {"id": "x", "name": "x"}
    return {
        "javascript loop": encode(javascript("while (true) {}")),
        "javascript promise": encode(javascript("await new Promise(() => {})")),
        "javascript memory": encode(javascript("const a = []; while (true) a.push(new Array(1e6).fill(1))")),
        "javascript deep object": encode(javascript("let o = {}; for (let i = 0; i < 1e5; i++) o = {o}; return o")),
        "javascript http": encode(javascript(f"return (await http.get('{server}')).data")),
        "javascript http with credentials": encode(
            javascript(f"await http.get('{server}', {{auth: {{type: 'iam'}}}})")
        ),
        "sub-decision of a file": encode(chain({"type": "decisionNode", "content": {"key": f"../{secret}"}})),
        "custom node": encode(chain({"type": "customNode", "content": {"kind": "shell", "config": {}}})),
        "huge list": encode(chain(expression_node({"approved": "sum(map([1..1000000000], # * 2)) > 5"}))),
        "huge list with a computed end": encode(chain(expression_node({"approved": "len([1..total * 1000000]) > 5"}))),
        "forty doublings": encode(doubling("true")),
        "slow nesting": encode(
            chain(expression_node({"approved": "len(map([1..90000], len(filter([1..90000], # > 5)))) > 5"}))
        ),
        "three closures": encode(chain(expression_node({"approved": "len(map(tags, map(tags, map(tags, #)))) > 5"}))),
        "100,000 brackets": encode(chain(expression_node({"approved": "[" * 100_000 + "]" * 100_000}))),
        "1,000 brackets": encode(chain(expression_node({"approved": "[" * 900 + "]" * 900}))),
        "deep JSON": nested(100_000),
        "JSON a little too deep": nested(40),
        "not JSON": b"{" * 1000,
        "a number that is none": b'{"nodes": [NaN], "edges": []}',
        "40,001 rows": encode(chain(table_node([[f"{n}", "", "true", "''"] for n in range(40_001)]))),
        "too many rows": encode(chain(table_node([["1", "", "true", "''"] for _ in range(5_001)]))),
        "too many nodes": encode({"nodes": [{**node, "type": "expressionNode"}] * 500, "edges": []}),
        "policy document": b'{"blocks": [{"type": "x"}], "nodes": [], "edges": []}',
        "imports": b'{"imports": ["../x"], "nodes": [], "edges": []}',
        "cycle": encode(
            {
                **chain(expression_node({"approved": "true"})),
                "edges": [
                    {"id": "1", "sourceId": "node1", "targetId": "node1"},
                    {"id": "2", "sourceId": "input", "targetId": "node1"},
                    {"id": "3", "sourceId": "node1", "targetId": "output"},
                ],
            }
        ),
    }


def accepted(server: str, secret: str) -> dict[str, bytes]:
    """What an upload may survive, because the harm is cut out of it, or waits for an input; by name."""
    return {
        "reference over http": encode(with_schema(f"{server}/schema.json")),
        "reference to a file": encode(with_schema(f"file://{secret}")),
        "doublings that wait": encode(doubling("len(vendor) > 40")),
        "lists that wait": encode(
            chain(
                expression_node({"approved": "len(vendor) > 40 ? len(map([1..90000], map([1..90000], #))) > 5 : true"})
            )
        ),
    }

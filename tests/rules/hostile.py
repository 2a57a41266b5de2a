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


def asking(key: str, **settings: Any) -> dict[str, Any]:
    return {"type": "decisionNode", "content": {"key": key, **settings}}


def for_each_of_a_hundred(key: str) -> dict[str, Any]:
    """Asks ``key`` a hundred times, if the vendor is long."""
    return chain(
        expression_node(
            {"items": "map(len(vendor) > 40 ? [1..100] : [1..1], {total: #, vendor: vendor})"}, passThrough=True
        ),
        asking(key, inputField="items", outputPath="items", executionMode="loop"),
        expression_node({"approved": "len(items) > 0"}),
    )


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
        "javascript regular expression": encode(javascript("return /^(a+)+$/.test('a'.repeat(40) + 'b')")),
        "javascript of old": encode(
            chain({"type": "functionNode", "content": "const handler = () => { while (1) {} }"})
        ),
        "javascript memory": encode(javascript("const a = []; while (true) a.push(new Array(1e6).fill(1))")),
        "javascript deep object": encode(javascript("let o = {}; for (let i = 0; i < 1e5; i++) o = {o}; return o")),
        "javascript http": encode(javascript(f"return (await http.get('{server}')).data")),
        "javascript http with credentials": encode(
            javascript(f"await http.get('{server}', {{auth: {{type: 'iam'}}}})")
        ),
        "sub-decision of a file": encode(chain(asking(f"../{secret}"))),
        "sub-decision of itself": encode(chain(asking("approval"))),
        "sub-decision of what is to come": encode(chain(asking("approval@99"))),
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
    """What an upload may survive, because the harm is cut out of it, or waits for an input; by name, in order.

    What is called to wait must find the versions before it as ``approval@1`` and so on.
    """
    wide = [[f"{n}", "", "true", f"'{n:0200}'"] for n in range(4_999)]
    return {
        "fan-out, the leaf": encode(chain(expression_node({"approved": "sum(map([1..900], # * total)) > 0"}))),
        "fan-out, one level": encode(for_each_of_a_hundred("approval@1")),
        "fan-out, two levels": encode(for_each_of_a_hundred("approval@2")),
        "fan-out that waits": encode(for_each_of_a_hundred("approval@3")),
        "reference over http": encode(with_schema(f"{server}/schema.json")),
        "reference to a file": encode(with_schema(f"file://{secret}")),
        "a pattern that backtracks": encode(with_pattern()),
        "a table of distinct texts": encode(chain(table_node([*wide, ["", "", "true", "''"]]))),
        "doublings that wait": encode(doubling("len(vendor) > 40")),
        "lists that wait": encode(
            chain(
                expression_node({"approved": "len(vendor) > 40 ? len(map([1..90000], map([1..90000], #))) > 5 : true"})
            )
        ),
    }


def with_pattern() -> dict[str, Any]:
    graph = chain(expression_node({"approved": "matches('" + "a" * 50 + "b', '^(a+)+$') or true"}))
    schema = {"type": "object", "properties": {"vendor": {"type": "string", "pattern": "^(a+)+$"}}}
    graph["nodes"][0]["content"] = {"schema": json.dumps(schema)}
    return graph


JAVASCRIPT_THAT_WAITS = {
    "loop": "while (true) {}",
    "a thousand million turns": "let n = 0; for (let i = 0; i < 1e9; i++) n += i; return {approved: n > 0}",
    "loop that swallows": "while (true) { try { while (true) {} } catch (error) {} }",
    "promise": "await new Promise(() => {})",
    "regular expression": "return {approved: /^(a+)+$/.test('a'.repeat(40) + 'b')}",
    "log": "while (true) console.log('x')",
    "memory": "const a = []; while (true) a.push(new Array(1e6).fill(1))",
    "recursion": "const f = () => f() + 1; f()",
    "cycle": "const o = {}; o.o = o; return o",
    "deep object": "let o = {}; for (let i = 0; i < 1e5; i++) o = {o}; return o",
    "http": "return (await http.get('http://127.0.0.1:9/')).data",
    "http with credentials": "await http.get('http://127.0.0.1:9/', {auth: {type: 'iam'}})",
    "files": "(await import('std')).open('/etc/passwd', 'r')",
}
"""What a function does once the vendor is long; nothing of it shows in a dry run."""


def waiting(attack: str) -> dict[str, Any]:
    return javascript(f"if (input.vendor.length > 9) {{ {JAVASCRIPT_THAT_WAITS[attack]} }}; return {{approved: true}}")


def inputs() -> dict[str, bytes]:
    """Inputs that mean harm, as JSON text; by name. None of them is an input of the rule."""
    return {
        "deep list": b"[" * 100_000 + b"]" * 100_000,
        "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "deep in a field": b'{"total": 5, "tags": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        "no number": b'{"total": NaN}',
        "infinity": b'{"total": Infinity}',
        "a number beyond all": b'{"total": 1e999999}',
        "half a text": b'{"total": 5, "vendor": "\\ud800"}',
        "cut off": b'{"total": 5',
    }

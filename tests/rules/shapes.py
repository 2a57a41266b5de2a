"""Every shape that a graph in JDM can have, as overrides of one rule, and inputs some of which fail."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from tests.rules.policies import chain, check, expression_node, graph_of, switch_node, table_node
from toolkit.rules import Sandbox, rule
from toolkit.rules.compilation import Asked
from toolkit.rules.documents import graph_of as read_graph
from toolkit.rules.validation import Surroundings


class Order(BaseModel):
    id: UUID
    amount: Decimal = Field(max_digits=12, decimal_places=2)
    weight: float | None = None
    country: str
    note: str | None = None


class Shipping(BaseModel):
    price: Decimal
    carrier: str = "post"
    note: str | None = None


@rule()
def shipping(input: Order) -> Shipping:
    return Shipping(price=Decimal(5))


class Sum(BaseModel):
    amount: Decimal


class Discount(BaseModel):
    off: Decimal


@rule()
def discount(input: Sum) -> Discount:
    return Discount(off=Decimal(0))


DISCOUNT = chain(
    table_node(
        [["> 500 and <= 1100", "50"], ["(20..500]", "amount / 100"], ["[0..20]", "1"]],
        inputs=["amount"],
        outputs=["off"],
    )
)


def surroundings(sandbox: Sandbox) -> Surroundings:
    """An installation in which the first version of ``discount`` can be asked."""
    compiled = check(DISCOUNT, sandbox, discount).compiled
    asked = Asked("discount", 1, read_graph(json.dumps(DISCOUNT)), discount.contract, compiled)
    return Surroundings(asked={"discount@1": asked})


SHAPES: dict[str, dict[str, Any]] = {
    "first table": chain(
        table_node(
            [
                ["> 1000", "", "0", ""],
                ["> 100", "'DE'", "amount / 100", "'express'"],
                ["[1..100]", "'FR', 'ES'", "weight * 2", "note"],
            ],
            inputs=["amount", "country"],
            outputs=["price", "carrier"],
        )
    ),
    "first table with conditions": chain(
        table_node(
            [
                ["weight > 10", "weight", ""],
                ["note == 'x' or amount > 900", "1", "country"],
                ["amount > 50", "amount", "null"],
            ],
            inputs=[""],
            outputs=["price", "note"],
        )
    ),
    "expressions": chain(expression_node({"price": "weight + amount", "carrier": "country", "note": "note ?? 'none'"})),
    "table that passes through": chain(
        table_node([["> 500", "1"], ["> 50", "weight"]], inputs=["amount"], outputs=["price"], passThrough=True)
    ),
    "three nodes": chain(
        table_node(
            [["> 500", "'big'", "null"], ["> 50", "'mid'", "note"]],
            inputs=["amount"],
            outputs=["size", "note"],
            passThrough=True,
        ),
        expression_node({"size": "size", "w": "weight", "note": "note"}),
        table_node([["'big'", "w", "note"], ["'mid'", "1", ""]], inputs=["size"], outputs=["price", "note"]),
    ),
    "nested output": chain(
        expression_node({"deep.price": "amount", "deep.note": "note"}),
        expression_node({"price": "deep.price", "note": "deep.note"}),
    ),
    "collecting table": chain(
        table_node(
            [["> 500", "1"], ["> 50", "2"]],
            inputs=["amount"],
            outputs=["step"],
            hit_policy="collect",
            outputPath="steps",
        ),
        expression_node({"price": "sum(map(steps, #.step))"}),
    ),
    "switch": graph_of(
        {
            "which": switch_node(["country == 'DE'", "amount > 500"]),
            "home": expression_node({"price": "1"}),
            "far": expression_node({"price": "weight"}),
        },
        [("input", "which"), ("which", "home", "s0"), ("which", "far", "s1"), ("home", "output"), ("far", "output")],
    ),
    "switch that takes several ways": graph_of(
        {
            "which": {
                "type": "switchNode",
                "content": {
                    "hitPolicy": "collect",
                    "statements": [
                        {"id": "s0", "condition": "country != 'US'"},
                        {"id": "s1", "condition": "amount > 500"},
                    ],
                },
            },
            "price": expression_node({"price": "weight"}),
            "carrier": expression_node({"carrier": "'express'", "price": "amount"}),
        },
        [
            ("input", "which"),
            ("which", "price", "s0"),
            ("which", "carrier", "s1"),
            ("price", "output"),
            ("carrier", "output"),
        ],
    ),
    "table for each item": chain(
        expression_node({"parts": "[{v: amount}, {v: weight ?? 11}]"}),
        table_node(
            [["> 500", "v"], ["[1..500]", "1"]],
            inputs=["v"],
            outputs=["p"],
            inputField="parts",
            outputPath="parts",
            executionMode="loop",
        ),
        expression_node({"price": "parts[0].p + parts[1].p"}),
    ),
    "sub-decision": chain(
        {"type": "decisionNode", "content": {"key": "discount@1", "passThrough": True}},
        expression_node({"price": "amount - off", "note": "note"}),
    ),
    "sub-decision for each item": chain(
        expression_node({"parts": "[{amount: amount}, {amount: weight ?? 100}]"}),
        {
            "type": "decisionNode",
            "content": {
                "key": "discount@1",
                "inputField": "parts",
                "outputPath": "parts",
                "executionMode": "loop",
                "passThrough": True,
            },
        },
        expression_node({"price": "sum(map(parts, #.off))"}),
    ),
    "loop over a list": chain(
        expression_node({"parts": "[{v: amount}, {v: weight}]"}),
        expression_node({"v": "v + 1"}, inputField="parts", outputPath="parts", executionMode="loop"),
        expression_node({"price": "parts[0].v"}),
    ),
}


def orders(count: int, seed: int) -> list[Order]:
    chance = random.Random(seed)
    return [
        Order(
            id=UUID(int=chance.getrandbits(128)),
            amount=Decimal(chance.randrange(0, 120_000)) / 100,
            weight=chance.choice([None, 0.5, 11.0, 20.25, float("nan") if chance.random() < 0.01 else 3.0]),
            country=chance.choice(["DE", "FR", "ES", "US"]),
            note=chance.choice([None, "", "x", 'it\'s "quoted" \u20ac']),
        )
        for _ in range(count)
    ]

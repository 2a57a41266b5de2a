"""A module with a rule and nothing around it."""

from __future__ import annotations

from pydantic import BaseModel

from toolkit.rules import rule


class Number(BaseModel):
    value: int


@rule
def double(input: Number) -> Number:
    return Number(value=input.value * 2)

"""Back-tests: what a version would have made of the inputs that were decided before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from toolkit.errors import RuleEvaluationError, ToolkitError
from toolkit.rules.compilation import Compiled
from toolkit.rules.definitions import Rule
from toolkit.rules.explanations import evaluate_quietly
from toolkit.rules.journal import Recorded
from toolkit.rules.overrides import read_evaluation
from toolkit.rules.redaction import Redaction
from toolkit.rules.sandbox import Sandbox
from toolkit.serialization import codec_for

MOST_LISTED = 500
_NEVER_SECRET = frozenset({"decision", "item", "fields", "rows"})


class ChangedDecision(BaseModel):
    """One decision that comes out differently. ``item`` counts from 0 in a batch."""

    model_config = ConfigDict(frozen=True)

    decision: str
    item: int | None
    input: Any
    before: Any
    after: Any
    fields: list[str]
    """The fields of the outcome that differ; none where an error came or went."""
    error: str | None = None
    """Why the version could not decide."""
    rows: list[str] = []


class BackTest(BaseModel):
    """Of the last ``compared`` decisions ``changed`` come out differently, ``failed`` of them because of an error."""

    model_config = ConfigDict(frozen=True)

    rule: str
    version: int
    compared: int
    changed: int
    failed: int
    skipped: int
    """Recorded inputs that do not fit the models of today."""
    decisions: list[ChangedDecision]
    text: str


@dataclass(frozen=True)
class _Item:
    decision: str
    number: int | None
    given: Any
    output: Any
    context: str


def back_test(
    rule: Rule[Any, Any],
    compiled: Compiled,
    recorded: Sequence[Recorded],
    *,
    version: int,
    limit: int,
    sandbox: Sandbox,
) -> BackTest:
    """Decide up to ``limit`` recorded inputs again, in the sandbox. Blocks."""
    items: list[_Item] = []
    skipped = 0
    for one in recorded:
        for number, (given, (output, _)) in enumerate(zip(one.inputs(), one.outcomes(), strict=True)):
            if len(items) >= limit:
                break
            try:
                context = rule.contract.encode(codec_for(rule.input_type).parse(given))
            except ToolkitError:
                skipped += 1
                continue
            at = number if one.record.inputs is not None else None
            items.append(_Item(one.record.id, at, given, output, context))
    found = evaluate_quietly(compiled, [item.context for item in items], sandbox=sandbox)
    redaction = Redaction(rule.contract)
    changed: list[ChangedDecision] = []
    failed = 0
    for item, evaluation in zip(items, found, strict=True):
        after, error, rows = None, None, list[str]()
        try:
            output, rows = read_evaluation(rule.contract, compiled, evaluation)
            after = output.model_dump(mode="json", by_alias=True)
        except RuleEvaluationError as refused:
            error = str(refused)
        fields = differing_fields(rule, item.output, after)
        if fields is None:
            continue
        failed += error is not None
        told = ChangedDecision(
            decision=item.decision,
            item=item.number,
            input=item.given,
            before=item.output,
            after=after,
            fields=fields,
            error=error,
            rows=rows,
        )
        changed.append(redaction.hide(told, input=item.given, outputs=(item.output, after), keep=_NEVER_SECRET))
    text = f"Of the last {len(items)} decisions {len(changed)} change with version {version}"
    return BackTest(
        rule=rule.name,
        version=version,
        compared=len(items),
        changed=len(changed),
        failed=failed,
        skipped=skipped,
        decisions=changed[:MOST_LISTED],
        text=f"{text}, {failed} of them to an error." if failed else f"{text}.",
    )


def differing_fields(rule: Rule[Any, Any], before: Any, after: Any) -> list[str] | None:
    """The fields of two outcomes in JSON that differ to the output model, or ``None`` where they are one outcome."""
    if before is None or after is None:
        return None if before is after else []
    codec = codec_for(rule.output_type)
    try:
        one, other = codec.parse(before), codec.parse(after)
    except ToolkitError:  # recorded with an output model of another release
        return None if before == after else [name for name in after if before.get(name) != after[name]]
    fields = [name for name in rule.output_type.model_fields if getattr(one, name) != getattr(other, name)]
    return fields or None

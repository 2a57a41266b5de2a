"""``ask``: one question to a person, put while the workflow runs, for processes too small to define a ``Human``.

```python
from toolkit.human import ask, show

purpose = await ask.text("What was it for?")
amount = await ask.money("How much?", currency="EUR", minimum=Decimal("0.01"))
await show.markdown(f"**{amount} EUR** for {purpose}")
```

Each is a human task of the run: it waits for days at no cost, is answered wherever tasks are, and its answer is on
record. Left alone it goes to whoever started the run; ``to`` names somebody else. All raise ``TaskExpired`` after
``timeout`` and ``TaskCancelled`` when the question is withdrawn.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel

from toolkit.errors import DefinitionError
from toolkit.files import File
from toolkit.human.asked import AskedQuestion, human_of, place_of_model
from toolkit.human.ladders import Group
from toolkit.workflows import current_run

Model = TypeVar("Model", bound=BaseModel)
Options = Sequence[str] | Mapping[str, str]
"""What can be chosen; a mapping gives each value its label."""


async def text(
    label: str,
    *,
    help: str = "",
    suggested: str | None = None,
    multi_line: bool = False,
    shortest: int | None = 1,
    longest: int | None = None,
    to: str | Group | None = None,
    timeout: timedelta | None = None,
) -> str:
    """Some text, of ``shortest`` to ``longest`` characters."""
    question = AskedQuestion(
        kind="text", label=label, help=help, is_multi_line=multi_line, shortest=shortest, longest=longest
    )
    return str(await _put(question, suggested, to=to, timeout=timeout))


async def boolean(
    label: str,
    *,
    help: str = "",
    suggested: bool | None = None,
    to: str | Group | None = None,
    timeout: timedelta | None = None,
) -> bool:
    """Yes or no."""
    return bool(await _put(AskedQuestion(kind="boolean", label=label, help=help), suggested, to=to, timeout=timeout))


async def number(
    label: str,
    *,
    help: str = "",
    suggested: Decimal | int | None = None,
    minimum: Decimal | int | None = None,
    maximum: Decimal | int | None = None,
    decimal_places: int | None = None,
    to: str | Group | None = None,
    timeout: timedelta | None = None,
) -> Decimal:
    """An exact number; ``decimal_places=0`` asks for a whole one."""
    question = AskedQuestion(
        kind="number",
        label=label,
        help=help,
        minimum=_exact(minimum),
        maximum=_exact(maximum),
        decimal_places=decimal_places,
    )
    return Decimal(await _put(question, suggested, to=to, timeout=timeout))


async def money(
    label: str,
    *,
    currency: str,
    help: str = "",
    suggested: Decimal | int | None = None,
    minimum: Decimal | int | None = None,
    maximum: Decimal | int | None = None,
    decimal_places: int = 2,
    to: str | Group | None = None,
    timeout: timedelta | None = None,
) -> Decimal:
    """An amount in ``currency``, exact."""
    question = AskedQuestion(
        kind="money",
        label=label,
        help=help,
        currency=currency,
        minimum=_exact(minimum),
        maximum=_exact(maximum),
        decimal_places=decimal_places,
    )
    return Decimal(await _put(question, suggested, to=to, timeout=timeout))


async def date(
    label: str,
    *,
    help: str = "",
    suggested: dt.date | None = None,
    earliest: dt.date | None = None,
    latest: dt.date | None = None,
    to: str | Group | None = None,
    timeout: timedelta | None = None,
) -> dt.date:
    """A day from ``earliest`` to ``latest``, both included."""
    question = AskedQuestion(kind="date", label=label, help=help, earliest=earliest, latest=latest)
    answer: dt.date = await _put(question, suggested, to=to, timeout=timeout)
    return answer


async def select(
    label: str,
    options: Options,
    *,
    help: str = "",
    suggested: str | None = None,
    to: str | Group | None = None,
    timeout: timedelta | None = None,
) -> str:
    """One of ``options``.

    Raises:
        DefinitionError: there are no options.
    """
    question = AskedQuestion(kind="select", label=label, help=help, options=_pairs(label, options))
    return str(await _put(question, suggested, to=to, timeout=timeout))


async def multi_select(
    label: str,
    options: Options,
    *,
    help: str = "",
    suggested: Sequence[str] | None = None,
    fewest: int | None = None,
    most: int | None = None,
    to: str | Group | None = None,
    timeout: timedelta | None = None,
) -> list[str]:
    """Some of ``options``.

    Raises:
        DefinitionError: there are no options.
    """
    question = AskedQuestion(
        kind="multi_select", label=label, help=help, options=_pairs(label, options), shortest=fewest, longest=most
    )
    answer: list[str] = await _put(question, suggested, to=to, timeout=timeout)
    return answer


async def file(label: str, *, help: str = "", to: str | Group | None = None, timeout: timedelta | None = None) -> File:
    """A file that was uploaded."""
    answer: File = await _put(AskedQuestion(kind="file", label=label, help=help), None, to=to, timeout=timeout)
    return answer


async def form(
    model: type[Model],
    *,
    label: str | None = None,
    help: str = "",
    suggested: Model | Mapping[str, Any] | None = None,
    to: str | Group | None = None,
    timeout: timedelta | None = None,
) -> Model:
    """Everything that ``model`` has, in one form. The class stands at the top of a module.

    Raises:
        DefinitionError: the class cannot be found by another process.
    """
    question = AskedQuestion(
        kind="form", label=label or model.__name__, help=help or (model.__doc__ or ""), model=place_of_model(model)
    )
    answer: Model = await _put(question, suggested, to=to, timeout=timeout)
    return answer


async def _put(question: AskedQuestion, suggested: Any, *, to: str | Group | None, timeout: timedelta | None) -> Any:
    run = current_run()
    starters = run.starters if run is not None and to is None else []
    person = to if isinstance(to, str) else next(iter(starters), None)
    candidates = [to] if isinstance(to, Group) else []
    human = human_of(question, timeout=timeout)
    result = await human(question, suggested_data=suggested, assign_to=person, candidates=candidates)
    return result.output


def _exact(value: Decimal | int | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _pairs(label: str, options: Options) -> tuple[tuple[str, str], ...]:
    pairs = tuple(options.items()) if isinstance(options, Mapping) else tuple((option, "") for option in options)
    if not pairs:
        raise DefinitionError(f"the question {label!r} offers nothing to choose from; give it options")
    return pairs

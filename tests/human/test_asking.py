"""Small interactive workflows: ``ask`` and ``show``, each a task or a message of the run."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, Field

from tests.human.office import Invoice, Office, person, until
from toolkit.access import acting_as
from toolkit.errors import Conflict, DefinitionError, InvalidInput, PermissionDenied, TaskExpired
from toolkit.files import File
from toolkit.human import Group, Human, Task, TaskState, ask, asked, build_form, show
from toolkit.human.asked import AskedQuestion, human_of
from toolkit.workflows import StepKind, workflow

RECEIPT = {
    "id": "01900000-0000-7000-8000-000000000001",
    "filename": "r.pdf",
    "content_type": "application/pdf",
    "size": 5,
    "sha256": "0" * 64,
}


class Trip(BaseModel):
    """Where to, and for how long."""

    city: str
    nights: int = Field(ge=1)


class Talk(BaseModel):
    purpose: str
    urgent: bool
    people: Decimal
    amount: Decimal
    day: date
    account: str
    tags: list[str]
    receipt: File
    trip: Trip


@workflow()
async def talk_over_a_trip() -> Talk:
    await show.markdown("# A trip\n\nSome questions.")
    await show.table([Invoice(number="1", total=Decimal(5)), {"number": "2", "total": 7}], title="So far")
    purpose = await ask.text("What for?", help="In a few words", suggested="A fair", longest=40, multi_line=True)
    urgent = await ask.boolean("Is it urgent?")
    people = await ask.number("How many people?", minimum=1, maximum=9, decimal_places=0)
    amount = await ask.money("How much?", currency="EUR", minimum=Decimal("0.01"))
    day = await ask.date("When?", earliest=date(2027, 1, 1))
    account = await ask.select("Booked to", {"4650": "Travel", "4660": "Fairs"})
    tags = await ask.multi_select("Tags", ["fair", "client", "team"], fewest=1, most=2)
    receipt = await ask.file("The receipt")
    await show.file(receipt, caption="What you gave")
    trip = await ask.form(Trip, suggested={"city": "Bern"})
    return Talk(
        purpose=purpose,
        urgent=urgent,
        people=people,
        amount=amount,
        day=day,
        account=account,
        tags=tags,
        receipt=receipt,
        trip=trip,
    )


# Each question: its widget, answers that do not fit, one that does.
ANSWERS: list[tuple[str, list[str], str]] = [
    ("multi_line", ['""', f'"{"x" * 41}"', "7"], '"A fair in Bern"'),
    ("boolean", ['"perhaps"', "null"], "true"),
    ("decimal", ["0", "10", "1.5", '"many"'], "3"),
    ("money", ["0", "1.005", '"much"'], '"1000000000000000.01"'),
    ("date", ['"2026-12-31"', '"2027-02-30"'], '"2027-06-01"'),
    ("select", ['"Travel"', "4650"], '"4660"'),
    ("multi_select", ["[]", '["fair", "client", "team"]', '["gift"]', '"fair"'], '["fair", "team"]'),
    ("file", ['{"filename": "r.pdf"}', "null"], str(RECEIPT).replace("'", '"')),
    ("object", ['{"city": "Bern"}', '{"city": "Bern", "nights": 0}'], '{"city": "Bern", "nights": 2}'),
]


async def next_task(office: Office, run_id: str, answered: int) -> Task:
    async def look() -> Task | None:
        tasks = await office.tasks.list(run_id=run_id)
        return tasks[0] if len(tasks) == answered + 1 else None

    return await until(look)


async def test_every_kind_of_question_is_a_task_of_whoever_started_the_run(office: Office) -> None:
    await office.deploy(talk_over_a_trip)
    run = await office.engine.start(talk_over_a_trip, started_by="eve")

    with acting_as(person("eve")):
        for answered, (widget, misfits, fitting) in enumerate(ANSWERS):
            task = await next_task(office, run.id, answered)
            detail = await office.tasks.get(task.id)
            assert task.assigned_to == "eve"
            assert detail.form is not None
            assert ("object" if detail.form.is_object else detail.form.fields[0].widget) == widget
            for misfit in misfits:
                with pytest.raises(InvalidInput):
                    await office.tasks.complete(task.id, misfit)
            if answered == 3:
                await office.restart()  # the question is on record, and so is what must fit
            await office.tasks.complete(task.id, fitting)

    result = Talk.model_validate(await office.result_of(run.id))
    assert (result.purpose, result.urgent, result.people) == ("A fair in Bern", True, Decimal(3))
    assert (result.amount, result.day) == (Decimal("1000000000000000.01"), date(2027, 6, 1))
    assert (result.account, result.tags, result.trip) == ("4660", ["fair", "team"], Trip(city="Bern", nights=2))
    assert result.receipt.filename == "r.pdf"


async def test_what_is_shown_is_a_message_on_record(office: Office) -> None:
    await office.deploy(talk_over_a_trip)
    run = await office.engine.start(talk_over_a_trip, started_by="eve")
    task = await next_task(office, run.id, 0)

    await office.restart()
    with acting_as(person("eve")):
        await office.tasks.complete(task.id, '"A fair"')
    await next_task(office, run.id, 1)
    shown = [step for step in await office.engine.list_steps(run.id) if step.kind == StepKind.MESSAGE]

    assert [(step.name, step.display_name) for step in shown] == [
        ("show.markdown", "# A trip"),
        ("show.table", "So far"),
    ]
    assert '"rows":[["1","5"],["2",7]]' in (shown[1].arguments or "")


async def test_a_question_carries_what_its_form_needs(office: Office) -> None:
    await office.deploy(talk_over_a_trip)
    run = await office.engine.start(talk_over_a_trip, started_by="eve")
    text = await office.tasks.get((await next_task(office, run.id, 0)).id)
    human = human_of(
        AskedQuestion(kind="select", label="Booked to", options=(("4650", "Travel"), ("4660", "Fairs"))),
    )

    assert (text.title, text.description, text.suggested_data) == ("What for?", "In a few words", "A fair")
    assert not text.is_form_changed
    (field,) = build_form(human.output_schema()).fields
    assert [(option.value, option.label) for option in field.options] == [("4650", "Travel"), ("4660", "Fairs")]
    assert field.label == "Booked to"


@workflow()
async def ask_finance() -> str:
    try:
        return str(await ask.boolean("Agreed?", to=Group("finance"), timeout=timedelta(hours=1)))
    except TaskExpired:
        return "nobody said"


async def test_a_question_may_go_to_somebody_else_and_have_an_end(office: Office) -> None:
    await office.staff()
    await office.deploy(ask_finance)
    first = await office.engine.start(ask_finance, started_by="eve")
    second = await office.engine.start(ask_finance, started_by="eve")
    task_id = await office.open_task(first.id)
    left = await office.open_task(second.id)

    with acting_as(person("eve")), pytest.raises(PermissionDenied):
        await office.tasks.complete(task_id, "true")
    with acting_as(person("bob")):
        await office.tasks.complete(task_id, "true")
    await office.turn(timedelta(hours=2))

    assert await first.result() == "True"
    assert await second.result() == "nobody said"
    assert (await office.tasks.get(left)).state is TaskState.EXPIRED


async def test_a_form_whose_class_is_gone_can_only_be_cancelled(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow()
    async def ask_for_a_trip() -> str:
        return (await ask.form(Trip)).city

    await office.deploy(ask_for_a_trip)
    run = await office.engine.start(ask_for_a_trip, started_by="eve")
    task_id = await office.open_task(run.id)
    asked._asked_again.cache_clear()
    monkeypatch.delattr("tests.human.test_asking.Trip")

    with pytest.raises(Conflict, match="does not define"):
        await office.tasks.complete(task_id, '{"city": "Bern", "nights": 1}')
    assert (await office.tasks.cancel(task_id)).state is TaskState.CANCELLED


async def test_questions_that_nobody_could_answer_are_refused() -> None:
    class Inside(BaseModel):
        x: int

    with pytest.raises(DefinitionError, match="top of a module"):
        await ask.form(Inside)
    with pytest.raises(DefinitionError, match="nothing to choose from"):
        await ask.select("Which?", [])
    with pytest.raises(DefinitionError, match="are those of `ask`"):
        Human("ask.text", title="Mine", output_type=str)


def test_a_table_is_for_reading() -> None:
    rows: list[dict[str, Any]] = [{"n": n} for n in range(show.MOST_ROWS + 1)]
    with pytest.raises(ValueError, match="show a file instead"):
        show.table(rows).send(None)

"""Schedules over REST: looked at, paused, resumed, triggered; each change is in the audit trail."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.api.installation import Caller, Installation, greet, until
from tests.api.test_runs import RUNS
from tests.api.test_tasks import ended
from toolkit.access import list_audit
from toolkit.workflows import Schedule

SCHEDULES = "/toolkit/v1/schedules"


def arguments(moment: datetime) -> dict[str, Any]:
    return {"name": f"{moment:%Z}"}


@pytest.fixture(autouse=True)
async def scheduled(installation: Installation) -> None:
    engine = installation.services.engine
    engine.register_schedule(
        Schedule("greet_daily", greet, cron="0 6 29 2 *", timezone="Europe/Berlin", arguments=arguments)
    )
    engine.register_schedule(Schedule("broken", greet, every=timedelta(days=9000), arguments=lambda moment: {}))

    async def are_there() -> bool:
        return len(await engine.schedules.list()) == 2

    await until(are_there)


async def actions(installation: Installation) -> list[tuple[str, str, dict[str, Any]]]:
    entries = await list_audit(installation.services.database, object_kind="schedule", object_id="greet_daily")
    return [(entry.action, entry.actor, entry.details) for entry in entries]


async def test_schedules_are_listed_and_shown(call: Caller) -> None:
    listed = (await call("GET", SCHEDULES)).json()["items"]
    shown = (await call("GET", f"{SCHEDULES}/greet_daily")).json()
    missing = await call("GET", f"{SCHEDULES}/nightly")

    assert [each["name"] for each in listed] == ["broken", "greet_daily"]
    assert listed[1] == shown
    assert (shown["workflow"], shown["timing"]) == ("greet", "cron 0 6 29 2 * Europe/Berlin")
    assert shown["due_at"].endswith("-02-29T05:00:00Z")
    assert (shown["last_run_id"], shown["paused_at"], shown["is_registered"]) == (None, None, True)
    assert (missing.status_code, "broken, greet_daily" in missing.json()["detail"]) == (404, True)


async def test_a_schedule_is_paused_and_resumed(call: Caller, installation: Installation) -> None:
    paused = await call("POST", f"{SCHEDULES}/greet_daily/pause", json={"reason": "stocktaking"})
    again = await call("POST", f"{SCHEDULES}/greet_daily/pause")
    resumed = await call("POST", f"{SCHEDULES}/greet_daily/resume")
    once_more = await call("POST", f"{SCHEDULES}/greet_daily/resume")
    missing = await call("POST", f"{SCHEDULES}/nightly/pause")

    answers = [(each.status_code, each.json().get("is_changed")) for each in (paused, again, resumed, once_more)]
    assert answers == [(200, True), (200, False), (200, True), (200, False)]
    assert (paused.json()["paused_by"], resumed.json()["paused_at"]) == ("ada", None)
    assert missing.status_code == 404
    assert await actions(installation) == [
        ("schedule.resumed", "ada", {}),
        ("schedule.paused", "ada", {"reason": "stocktaking"}),
    ]


async def test_a_schedule_is_triggered_once_for_a_key(call: Caller, installation: Installation) -> None:
    made = [await call("POST", f"{SCHEDULES}/greet_daily/trigger", headers={"idempotency-key": "a"}) for _ in range(2)]
    other = await call("POST", f"{SCHEDULES}/greet_daily/trigger", json={"reason": "the auditor asks"})

    run_id = made[0].json()["id"]
    assert [each.status_code for each in (*made, other)] == [201, 200, 201]
    assert made[1].json() == {"id": run_id, "workflow": "greet", "is_new": False}
    assert made[0].headers["location"] == f"{RUNS}/{run_id}"
    run = await ended(call, run_id)
    assert (run["result"], run["started_by"]) in {("Hello, CET", "ada"), ("Hello, CEST", "ada")}
    assert await actions(installation) == [
        ("schedule.triggered", "ada", {"run_id": other.json()["id"], "reason": "the auditor asks"}),
        ("schedule.triggered", "ada", {"run_id": run_id}),
    ]


async def test_arguments_that_do_not_fit_are_a_conflict_and_no_fault_of_the_caller(call: Caller) -> None:
    response = await call("POST", f"{SCHEDULES}/broken/trigger")

    assert response.status_code == 409
    assert "'broken' could not be made (InvalidInput: name)" in response.json()["detail"]

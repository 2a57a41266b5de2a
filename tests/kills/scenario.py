"""Forty invoices under way while their server is killed again and again; then every cent is counted."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import httpx2
from sqlmodel import select

from examples.invoice.entities import Payment
from examples.invoice.make_samples import ELBE, IBANS, Item, invoice
from examples.invoice.renderers import Language, PageStyle, write_cii, write_pdf
from tests.kills.model_server import ModelServer
from tests.kills.processes import Installation, await_readiness, kill, running, serving
from toolkit.storage import Database, Query, both

INVOICES = 40
_ENDED = {"succeeded", "failed", "cancelled", "parked"}
_UNFINISHED = both("unfinished", "SELECT id, state, error FROM toolkit_run WHERE state <> 'succeeded'")
_MODEL_CALLS = both("model calls", "SELECT run_id, path, result FROM toolkit_step WHERE kind = 'model_call'")


@dataclass(slots=True)
class Report:
    """What was seen."""

    kills: int = 0
    states: Counter[str] = field(default_factory=Counter)
    payments: int = 0
    model_answers: int = 0
    model_answers_recorded: int = 0
    faults: list[str] = field(default_factory=list)


def make_invoices() -> dict[str, tuple[bytes, Decimal]]:
    """File name -> (content, amount due). Every second one is above the limit and goes to a person; most are PDFs."""
    made = {}
    for number in range(INVOICES):
        price = Decimal(100 + number) if number % 2 else Decimal(2000 + number)
        data = invoice(
            f"K-{number:03}",
            ELBE,
            [Item("Paper", Decimal(2), "box", price)],
            issued=date(2026, 11, 2),
            iban=IBANS[ELBE.name],
        )
        if number % 5 == 4:
            made[f"invoice-{number:03}.xml"] = (write_cii(data), data.amount_due)
        else:
            made[f"invoice-{number:03}.pdf"] = (write_pdf(data, PageStyle(language=Language.ENGLISH)), data.amount_due)
    return made


class Clients:
    """Those outside: who sends invoices in and who answers tasks. They try again until they are heard."""

    def __init__(
        self, installation: Installation, invoices: dict[str, tuple[bytes, Decimal]], chance: random.Random
    ) -> None:
        self._http = httpx2.AsyncClient(base_url=f"{installation.address}/toolkit/v1", timeout=10)
        self._waiting = list(invoices.items())
        self._chance = chance
        self.runs: dict[str, str] = {}
        self.files: dict[str, str] = {}

    async def close(self) -> None:
        await self._http.aclose()

    async def live(self, *, sends: int, answers: int) -> None:
        """Send some invoices in and answer some tasks; the server may vanish at any moment."""
        await asyncio.gather(self._send(sends), self._answer(answers), return_exceptions=False)

    async def _send(self, count: int) -> None:
        for name, (content, _) in self._waiting[:count]:
            try:
                if name not in self.files:
                    uploaded = await self._http.post("/files", files={"file": (name, content)})
                    self.files[name] = uploaded.raise_for_status().json()["items"][0]["id"]
                started = await self._http.post(
                    "/workflows/process_invoice/runs",
                    json={"input": {"file": {"id": self.files[name]}}},
                    headers={"Idempotency-Key": name},
                )
            except httpx2.TransportError:
                return
            self.runs[name] = started.raise_for_status().json()["id"]
            self._waiting = [entry for entry in self._waiting if entry[0] != name]

    async def _answer(self, count: int) -> None:
        try:
            listed = await self._http.get("/human-tasks", params={"state": "open", "limit": 100})
            tasks = listed.raise_for_status().json()["items"]
            for task in self._chance.sample(tasks, min(count, len(tasks))):
                answered = await self._http.post(
                    f"/human-tasks/{task['id']}/complete", json={"output": {"approved": True, "note": ""}}
                )
                if answered.status_code not in {200, 409}:  # 409: it was heard, and the answer was lost on the way
                    answered.raise_for_status()
        except httpx2.TransportError:
            return

    async def finish(self, *, within: float = 120.0) -> Counter[str]:
        """Send in and answer what is left; returns how the runs ended."""
        async with asyncio.timeout(within):
            while True:
                await self.live(sends=INVOICES, answers=INVOICES)
                listed = await self._http.get("/runs", params={"workflow": "process_invoice", "limit": 100})
                states = Counter(run["state"] for run in listed.raise_for_status().json()["items"])
                if len(self.runs) == INVOICES and all(state in _ENDED for state in states):
                    return states
                await asyncio.sleep(0.1)  # the server has its own pace


async def run_scenario(
    installation: Installation, model: ModelServer, *, kills: int, seed: int, longest_life: float = 1.2
) -> Report:
    """Kill the server ``kills`` times at random moments, each time after it was ready, then let it finish."""
    chance = random.Random(seed)
    invoices = make_invoices()
    clients = Clients(installation, invoices, chance)
    report = Report()
    per_life = max(1, -(-INVOICES // max(kills // 2, 1)))
    try:
        for _ in range(kills):
            with running(installation, "dev", *serving(installation)) as process:
                await asyncio.to_thread(await_readiness, installation, process)
                life = asyncio.create_task(clients.live(sends=per_life, answers=1))
                await asyncio.sleep(chance.uniform(0, longest_life))  # the kill is to come at any moment
                kill(process)
                await life
                report.kills += 1
        with running(installation, "dev", *serving(installation)) as process:
            await asyncio.to_thread(await_readiness, installation, process)
            report.states = await clients.finish()
    finally:
        await clients.close()
    await count(installation, invoices, model, report)
    return report


async def count(
    installation: Installation, invoices: dict[str, tuple[bytes, Decimal]], model: ModelServer, report: Report
) -> None:
    """Compare money and model calls on record with what there should be."""
    database = Database(installation.database_url)
    await database.open()
    try:
        async with database.session() as session:
            payments = (await session.exec(select(Payment))).all()
        rows = await database.reader.read(Query(_MODEL_CALLS))
        unfinished = await database.reader.read(Query(_UNFINISHED))
    finally:
        await database.close()
    report.payments = len(payments)
    report.faults += [f"run {run_id} is {state}: {error}" for run_id, state, error in unfinished]
    due, paid = sorted(amount for _, amount in invoices.values()), sorted(payment.amount for payment in payments)
    if due != paid:
        report.faults.append(f"due {len(due)} payments of {sum(due)} in all, booked {len(paid)} of {sum(paid)}")
    recorded = [_answer_id(json.loads(result)) for _, _, result in rows]
    report.model_answers = sum(map(len, model.answers.by_question.values()))
    report.model_answers_recorded = len(recorded)
    for question, answers in model.answers.by_question.items():
        kept = [answer for answer in answers if answer in recorded]
        if len(kept) != 1 or answers[-1] != kept[0]:
            report.faults.append(f"question {question[:12]}: answered {answers}, recorded {kept}")
    if report.states != Counter({"succeeded": INVOICES}):
        report.faults.append(f"runs ended as {dict(report.states)}")


def _answer_id(recorded: Any) -> str:
    """The id that the model server gave an answer, wherever it stands in the recorded response."""
    if isinstance(recorded, dict):
        for value in recorded.values():
            if found := _answer_id(value):
                return found
    if isinstance(recorded, list):
        for value in recorded:
            if found := _answer_id(value):
                return found
    return recorded if isinstance(recorded, str) and recorded.startswith("answer-") else ""

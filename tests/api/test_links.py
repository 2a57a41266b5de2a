"""A link lets one person answer one task once, on a page that works without script; looking changes nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlmodel import select, update

from tests.api.installation import Caller, Installation
from tests.api.test_tasks import TASKS, ended, opened
from toolkit.human.tables import LinkRow, TaskRow

LINKS = "/toolkit/v1/task-links"
FORM = {"content-type": "application/x-www-form-urlencoded", "origin": "http://localhost:8000"}


async def link_for(call: Caller, task_id: str, person: str = "grace") -> dict[str, Any]:
    await call("POST", f"{TASKS}/{task_id}/assign", json={"user": person})
    made = await call("POST", f"{TASKS}/{task_id}/links", json={"person": person})
    assert made.status_code == 201, made.text
    return dict(made.json())


async def post(call: Caller, token: str, **answer: str) -> Any:
    return await call("POST", f"{LINKS}/{token}", content=urlencode(answer), headers=FORM)


def hidden(text: str) -> dict[str, str]:
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', text)}


async def test_the_page_shows_and_the_form_decides(call: Caller) -> None:
    task = await opened(call)
    link = await link_for(call, task["id"])

    page = await call("GET", f"{LINKS}/{link['token']}")
    sent = await post(call, link["token"], approved="true", limit="7.10", **hidden(page.text))
    run = await ended(call, task["run_id"])

    assert page.status_code == 200
    assert "Approve the payment" in page.text
    assert "Please look" in page.text
    assert "12.50" in page.text
    assert "<script" not in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["cache-control"] == "no-store"
    assert (sent.status_code, "on record" in sent.text) == (200, True)
    assert run["result"] == "grace: True 7.10"


async def test_a_scanner_changes_nothing(call: Caller) -> None:
    task = await opened(call)
    link = await link_for(call, task["id"])
    before = (await call("GET", f"{TASKS}/{task['id']}")).json()

    for method in ("GET", "GET", "GET", "GET", "GET", "HEAD", "OPTIONS"):
        await call(method, f"{LINKS}/{link['token']}")
    for _ in range(5):
        assert (await call("GET", f"{LINKS}/{link['token']}")).status_code == 200
    after = (await call("GET", f"{TASKS}/{task['id']}")).json()

    assert after == before
    (kept,) = (await call("GET", f"{TASKS}/{task['id']}/links")).json()["items"]
    assert kept["used_at"] is None
    assert (await post(call, link["token"], approved="true")).status_code == 200


async def test_a_link_is_used_once_and_says_by_whom(call: Caller) -> None:
    task = await opened(call)
    link = await link_for(call, task["id"])

    assert (await post(call, link["token"], approved="true")).status_code == 200
    again = await post(call, link["token"], approved="false")
    looked = await call("GET", f"{LINKS}/{link['token']}")

    assert again.status_code == 409
    for page in (again, looked):
        assert "was completed by grace on " in page.text
        assert "<form" not in page.text


async def test_a_link_opens_the_documents_for_as_long_as_its_page_shows_them(call: Caller) -> None:
    task = await opened(call)
    upload = await call("POST", "/toolkit/v1/files", files={"file": ("offer.txt", b"secret", "text/plain")})
    (file,) = upload.json()["items"]
    await call("POST", f"{TASKS}/{task['id']}/assign", json={"user": "grace"})
    await call("POST", f"{TASKS}/{task['id']}/files", json={"files": [file["id"]]}, headers={"x-toolkit-user": "grace"})
    link = await link_for(call, task["id"])
    document = f"{LINKS}/{link['token']}/files/{file['id']}"

    before = await call("GET", document)
    await post(call, link["token"], approved="true")
    after = await call("GET", document)

    assert (before.status_code, before.content) == (200, b"secret")
    assert (after.status_code, b"secret" in after.content) == (409, False)
    assert "has done its work" in after.json()["detail"]


async def test_a_document_whose_bytes_are_gone_is_an_error(call: Caller, installation: Installation) -> None:
    store = installation.services.files
    file = await store.upload(b"secret", filename="offer.txt")
    task = await opened(call)
    await call("POST", f"{TASKS}/{task['id']}/assign", json={"user": "grace"})
    await call("POST", f"{TASKS}/{task['id']}/files", json={"files": [file.id]}, headers={"x-toolkit-user": "grace"})
    link = await link_for(call, task["id"])
    await store.storages.get().delete((await store.rows.find(file.id)).key)

    assert (await call("GET", f"{LINKS}/{link['token']}/files/{file.id}")).status_code == 503


async def test_an_answer_that_does_not_fit_keeps_the_link_and_what_was_typed(call: Caller) -> None:
    task = await opened(call)
    link = await link_for(call, task["id"])

    refused = await post(call, link["token"], approved="true", limit="a <b>lot</b>")
    accepted = await post(call, link["token"], approved="true", limit="5")

    assert refused.status_code == 422
    assert "limit: " in refused.text
    assert "a &lt;b&gt;lot&lt;/b&gt;" in refused.text
    assert accepted.status_code == 200


@pytest.mark.parametrize("days", ["--5", "9" * 5000, "-" * 5000, "1.5", "\u00b2"])
async def test_an_integer_that_is_none_is_an_error_on_the_page(call: Caller, days: str) -> None:
    task = await opened(call)
    link = await link_for(call, task["id"])

    refused = await post(call, link["token"], approved="true", days=days)
    accepted = await post(call, link["token"], approved="true", days="-5")

    assert (refused.status_code, "days: " in refused.text) == (422, True)
    assert accepted.status_code == 200


async def test_a_form_with_too_many_fields_or_an_impossible_version_keeps_the_link(call: Caller) -> None:
    task = await opened(call)
    link = await link_for(call, task["id"])

    many = await call("POST", f"{LINKS}/{link['token']}", content="a=1&" * 10_001, headers=FORM)
    versions = [
        await post(call, link["token"], approved="true", **{"toolkit.version": version})
        for version in ("9" * 5000, "\u00b2", "one")
    ]

    assert (many.status_code, "more than 10,000 fields" in many.text) == (422, True)
    assert [each.status_code for each in versions] == [409] * 3
    assert (await post(call, link["token"], approved="true")).status_code == 200


async def test_a_stale_page_is_told_what_changed(call: Caller) -> None:
    task = await opened(call)
    link = await link_for(call, task["id"])
    page = await call("GET", f"{LINKS}/{link['token']}")
    await call("PATCH", f"{TASKS}/{task['id']}", json={"priority": 3})

    stale = await post(call, link["token"], approved="true", **hidden(page.text))
    fresh = await post(call, link["token"], approved="true", **hidden(stale.text))

    assert stale.status_code == 409
    assert "has changed since it was shown" in unescape(stale.text)
    assert fresh.status_code == 200


async def test_a_link_opens_no_more_than_the_person_may(call: Caller) -> None:
    task = await opened(call)
    link = await link_for(call, task["id"])
    await call("POST", f"{TASKS}/{task['id']}/assign", json={"user": "hedy"})

    refused = await post(call, link["token"], approved="true")

    assert refused.status_code == 403
    assert "assigned to &#39;hedy&#39;" in refused.text
    assert (await call("GET", f"{TASKS}/{task['id']}")).json()["state"] == "open"


async def test_a_revoked_an_expired_and_a_guessed_link_look_alike(call: Caller, installation: Installation) -> None:
    task = await opened(call)
    revoked, expired = await link_for(call, task["id"]), await link_for(call, task["id"])
    path = f"{TASKS}/{task['id']}/links/{revoked['id']}"
    assert (await call("DELETE", path)).json()["revoked_at"] is not None
    async with installation.services.database.session() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await session.exec(update(LinkRow).where(LinkRow.id == expired["id"]).values(expires_at=past))

    pages = [await call("GET", f"{LINKS}/{token}") for token in (revoked["token"], expired["token"], "guessed")]
    posts = [await post(call, token, approved="true") for token in (revoked["token"], expired["token"], "guessed")]

    assert {page.status_code for page in [*pages, *posts]} == {404}
    assert len({page.text for page in [*pages, *posts]}) == 1


async def test_only_the_hash_of_a_token_is_kept(call: Caller, installation: Installation) -> None:
    task = await opened(call)
    link = await link_for(call, task["id"])

    async with installation.services.database.session() as session:
        (row,) = (await session.exec(select(LinkRow))).all()

    assert len(link["token"]) == 43
    assert link["token"] not in repr(row.model_dump())
    (listed,) = (await call("GET", f"{TASKS}/{task['id']}/links")).json()["items"]
    assert "token" not in listed


async def test_four_eyes_hold_for_links(call: Caller, installation: Installation) -> None:
    task = await opened(call)
    link = await link_for(call, task["id"], person="ada")  # Ada has started the run
    async with installation.services.database.session() as session:
        await session.exec(update(TaskRow).values(four_eyes=1))

    refused = await post(call, link["token"], approved="true")
    for_ada = await call(
        "POST", f"{TASKS}/{task['id']}/links", json={"person": "ada"}, headers={"x-toolkit-user": "hedy"}
    )

    assert (refused.status_code, for_ada.status_code) == (403, 403)
    assert "four eyes" in refused.text


async def test_a_foreign_page_cannot_send_the_form(call: Caller) -> None:
    task = await opened(call)
    link = await link_for(call, task["id"])

    foreign = await call(
        "POST",
        f"{LINKS}/{link['token']}",
        content="approved=true",
        headers=FORM | {"origin": "https://evil.example"},
    )

    assert foreign.status_code == 403
    assert (await call("GET", f"{TASKS}/{task['id']}")).json()["state"] == "open"


async def test_a_task_that_is_not_there_has_no_list_of_links(call: Caller) -> None:
    assert (await call("GET", f"{TASKS}/nope/links")).status_code == 404

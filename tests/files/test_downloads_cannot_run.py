"""A download says what it is, offers what could run for saving only, and sends the range that was asked for."""

from __future__ import annotations

import re
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.files import File, clean_filename, plan_download

SHA = "a" * 64


def file(content_type: str = "application/pdf", *, size: int = 100, filename: str = "invoice.pdf") -> File:
    return File(
        id="01900000-0000-7000-8000-000000000001", filename=filename, content_type=content_type, size=size, sha256=SHA
    )


@pytest.mark.parametrize(
    "content_type", ["application/pdf", "image/png", "image/jpeg", "image/webp", "image/gif", "text/plain"]
)
def test_what_cannot_run_is_displayed_unless_saving_is_asked_for(content_type: str) -> None:
    assert plan_download(file(content_type)).headers["Content-Disposition"].startswith("inline;")
    saved = plan_download(file(content_type), inline=False)
    assert saved.headers["Content-Disposition"].startswith("attachment;")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html", "image/svg+xml", "application/xml", "application/xhtml+xml", "text/xml", "application/json",
        "text/csv", "message/rfc822", "application/octet-stream", "image/tiff", "application/javascript",
    ],
)  # fmt: skip
def test_everything_else_is_for_saving(content_type: str) -> None:
    assert plan_download(file(content_type)).headers["Content-Disposition"].startswith("attachment;")


@pytest.mark.parametrize("asked", [{}, {"range": "bytes=0-1"}, {"range": "bytes=200-"}, {"if-none-match": f'"{SHA}"'}])
@pytest.mark.parametrize("content_type", ["application/pdf", "text/html", "image/svg+xml"])
def test_every_answer_is_locked(content_type: str, asked: dict[str, str]) -> None:
    headers = plan_download(file(content_type), asked).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'; frame-ancestors 'self'"
    assert headers["Cache-Control"] == "private, no-cache"


def test_text_is_sent_as_utf_8() -> None:
    assert plan_download(file("text/plain")).headers["Content-Type"] == "text/plain; charset=utf-8"
    assert plan_download(file("application/pdf")).headers["Content-Type"] == "application/pdf"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, 100),
        ("bytes=-10", 90, 100),
        ("bytes=-1000", 0, 100),
        ("bytes=90-1000", 90, 100),
        ("bytes=99-99", 99, 100),
        (" bytes=0-0 ", 0, 1),
    ],
)
def test_one_range_is_served(asked: str, start: int, end: int) -> None:
    delivery = plan_download(file(), {"Range": asked})

    assert (delivery.status, delivery.start, delivery.end) == (206, start, end)
    assert delivery.headers["Content-Range"] == f"bytes {start}-{end - 1}/100"
    assert delivery.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=999999999999999999-", "bytes=-0"])
def test_a_range_behind_the_end_is_refused_with_the_size(asked: str) -> None:
    delivery = plan_download(file(), {"range": asked})

    assert (delivery.status, delivery.start, delivery.end) == (416, 0, 0)
    assert delivery.headers["Content-Range"] == "bytes */100"


@pytest.mark.parametrize(
    "asked",
    [
        "", "bytes", "bytes=", "bytes=-", "bytes=9-0", "bytes=a-b", "bytes=0-1,3-4", "items=0-1", "bytes=0x0-1", "bytes=١-٢",
        "bytes=--1", "bytes=0 - 1", "bytes=9999999999999999999999-", "bytes=0-," + ",0-" * 10_000,
    ],
)  # fmt: skip
def test_a_range_in_another_form_is_as_good_as_none(asked: str) -> None:
    delivery = plan_download(file(), {"range": asked})

    assert (delivery.status, delivery.start, delivery.end) == (200, 0, 100)
    assert delivery.headers["Content-Length"] == "100"


def test_an_empty_file_has_no_ranges() -> None:
    assert plan_download(file(size=0)).status == 200
    assert plan_download(file(size=0), {"range": "bytes=0-"}).status == 416


@pytest.mark.parametrize("known", [f'"{SHA}"', f'W/"{SHA}"', f'"x", "{SHA}"', "*"])
def test_what_the_reader_has_already_is_not_sent_again(known: str) -> None:
    delivery = plan_download(file(), {"If-None-Match": known, "Range": "bytes=0-1"})

    assert (delivery.status, delivery.start, delivery.end) == (304, 0, 0)
    assert delivery.headers["ETag"] == f'"{SHA}"'


def test_a_range_of_another_version_is_not_served() -> None:
    assert plan_download(file(), {"range": "bytes=0-1", "if-range": f'"{SHA}"'}).status == 206
    assert plan_download(file(), {"range": "bytes=0-1", "if-range": '"other"'}).status == 200
    assert plan_download(file(), {"range": "bytes=0-1", "if-range": f'W/"{SHA}"'}).status == 200
    assert plan_download(file(), {"if-none-match": '"other"'}).status == 200


@pytest.mark.parametrize(
    "name",
    [
        "invoice.pdf",
        'a"b.pdf',
        "a\\b.pdf",
        "a%41.pdf",
        "Rechnung für Ä.pdf",
        "請求書.pdf",
        "a;b=c.pdf",
        "👩\u200d💻.png",
        "",
    ],
)
def test_a_name_in_any_script_survives(name: str) -> None:
    assert_name_survives(name)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_name_survives_and_breaks_no_header(name: str) -> None:
    assert_name_survives(clean_filename(name))


def assert_name_survives(name: str) -> None:
    header = plan_download(file(filename=name)).headers["Content-Disposition"]

    assert re.fullmatch(r"[ -~]+", header)
    found = re.fullmatch(r"inline; filename=\"([^\"\\%]+)\"; filename\*=UTF-8''([!-~]*)", header)
    assert found is not None
    assert unquote(found[2]) == name
    message = Message()
    message["Content-Disposition"] = header
    assert message.get_content_disposition() == "inline"

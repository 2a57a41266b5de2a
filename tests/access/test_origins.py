"""A request passes only if it asks for a name of ours, and changes something only if no foreign page sent it."""

from __future__ import annotations

import pytest

from toolkit.access import LOCAL_HOSTS, judge_host, judge_origin, judge_request, new_api_key


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST.", "::1"])
def test_a_local_name_is_ours_on_any_port(host: str) -> None:
    assert judge_host(host, allowed_hosts=LOCAL_HOSTS) is None


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "evil-localhost",
        "localhost@evil.example",
        "localhost/evil",
        "localhost:8000:80",
        "localhost:port",
        "127.0.0.1.nip.io",
        "127.0.0.10",
        "0x7f.0.0.1",
        "[::1",
        "[::2]",
        "localhost, evil.example",
        "localhost evil",
        "lоcalhost",  # the first o is Cyrillic
        ".",
        "*",
    ],
)
def test_any_other_name_is_misdirected(host: str | None) -> None:
    refusal = judge_host(host, allowed_hosts=LOCAL_HOSTS)

    assert refusal is not None
    assert refusal.status == 421


def test_an_allowed_host_may_fix_a_port_stand_for_names_below_it_or_for_all() -> None:
    allowed = ("api.example.com:8443", "*.apps.example.com")

    assert judge_host("api.example.com:8443", allowed_hosts=allowed) is None
    assert judge_host("a.b.apps.example.com", allowed_hosts=allowed) is None
    assert judge_host("api.example.com", allowed_hosts=allowed) is not None
    assert judge_host("apps.example.com", allowed_hosts=allowed) is not None
    assert judge_host("evilapps.example.com", allowed_hosts=allowed) is not None
    assert judge_host("anything", allowed_hosts=("*",)) is None
    assert judge_host("not a host", allowed_hosts=("*",)) is not None


HOST = {"host": "app.example.com"}


@pytest.mark.parametrize(
    "headers",
    [
        {},  # no browser
        {"sec-fetch-site": "same-origin", "origin": "https://app.example.com"},
        {"sec-fetch-site": "none"},
        {"origin": "https://app.example.com"},
        {"origin": "https://app.example.com:443"},
        {"origin": "https://portal.example.com", "sec-fetch-site": "same-site"},
        # A proxy has changed the host; the browser knows better.
        {"sec-fetch-site": "same-origin", "origin": "https://public.example.com"},
        # A key cannot be sent by a page of another site.
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "x-api-key": new_api_key().text},
        {"origin": "https://evil.example", "authorization": f"Bearer {new_api_key().text}"},
    ],
)
def test_a_change_from_our_own_pages_from_no_browser_or_with_a_key_passes(headers: dict[str, str]) -> None:
    assert judge_origin("POST", HOST | headers, allowed_origins=("https://portal.example.com",)) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "https://other.example.com"},
        {"sec-fetch-site": "same-site, same-origin"},
        {"sec-fetch-site": ""},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "https://evil.example"},
        {"origin": "https://app.example.com.evil.example"},
        {"origin": "https://app.example.com:8443"},
        {"origin": "http://app.example.com:443"},
        {"origin": "file://app.example.com"},
        {"origin": "app.example.com"},
        # What a browser adds by itself is no sign that our own code sent the request.
        {"origin": "https://evil.example", "authorization": "Basic ZGV2OmRldg=="},
        {"origin": "https://evil.example", "authorization": "Bearer something"},
        {"origin": "https://evil.example", "cookie": "session=tk_1"},
        # Neither is a pair of keys that contradict each other.
        {"origin": "https://evil.example", "authorization": "Bearer tk_1", "x-api-key": "tk_2"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "put", "PATCH", "DELETE", "WEBSOCKET", "PROPFIND"])
def test_a_change_from_a_foreign_page_is_forbidden(method: str, headers: dict[str, str]) -> None:
    refusal = judge_origin(method, HOST | headers)

    assert refusal is not None
    assert refusal.status == 403


@pytest.mark.parametrize("method", ["GET", "head", "OPTIONS"])
def test_reading_is_free(method: str) -> None:
    assert judge_origin(method, HOST | {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}) is None


def test_a_key_opens_no_foreign_host_and_the_host_is_judged_first() -> None:
    headers = {"Host": "evil.example", "Origin": "https://evil.example", "X-API-Key": new_api_key().text}

    refusal = judge_request("POST", headers, allowed_hosts=LOCAL_HOSTS)

    assert refusal is not None
    assert refusal.status == 421


def test_a_local_page_may_write_and_another_local_port_may_not() -> None:
    own = {"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:8000"}
    other = {"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:9000"}

    assert judge_request("POST", own, allowed_hosts=LOCAL_HOSTS) is None
    refusal = judge_request("POST", other, allowed_hosts=LOCAL_HOSTS)
    assert refusal is not None
    assert refusal.status == 403

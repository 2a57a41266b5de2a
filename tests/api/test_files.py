"""Files over REST: what went in comes out, and nothing more."""

from __future__ import annotations

from tests.api.installation import Caller

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
FILES = "/toolkit/v1/files"


async def upload(call: Caller, content: bytes = PDF, filename: str = "invoice.pdf") -> dict[str, object]:
    response = await call("POST", FILES, files={"file": (filename, content, "application/pdf")})
    assert response.status_code == 201, response.text
    (file,) = response.json()["items"]
    return dict(file)


async def test_a_file_of_a_form_is_stored_and_found_again(call: Caller) -> None:
    file = await upload(call)

    listed = (await call("GET", FILES)).json()["items"]
    metadata = (await call("GET", f"{FILES}/{file['id']}")).json()
    content = await call("GET", f"{FILES}/{file['id']}/content")

    assert [entry["id"] for entry in listed] == [file["id"]]
    assert metadata["filename"] == "invoice.pdf"
    assert metadata["created_by"] == "ada"
    assert content.content == PDF
    assert content.headers["x-content-type-options"] == "nosniff"


async def test_several_files_of_one_form_come_back_in_order(call: Caller) -> None:
    parts = [("files", (f"{n}.pdf", PDF, "application/pdf")) for n in range(3)]

    response = await call("POST", FILES, files=parts)

    assert [file["filename"] for file in response.json()["items"]] == ["0.pdf", "1.pdf", "2.pdf"]


async def test_a_raw_body_is_one_file(call: Caller) -> None:
    response = await call("POST", f"{FILES}?filename=a.pdf", content=PDF, headers={"content-type": "application/pdf"})

    assert response.status_code == 201
    assert response.json()["items"][0]["size"] == len(PDF)


async def test_a_raw_body_needs_a_name(call: Caller) -> None:
    response = await call("POST", FILES, content=PDF, headers={"content-type": "application/pdf"})

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == "query.filename"


async def test_a_form_without_a_file_is_refused(call: Caller) -> None:
    response = await call("POST", FILES, files=[("note", (None, b"text"))])

    assert response.status_code == 422


async def test_a_form_that_cannot_be_read_is_refused(call: Caller) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}

    assert (await call("POST", FILES, content=b"--x\r\nbroken", headers=headers)).status_code in {400, 422}


async def test_a_form_above_the_limit_is_refused(call: Caller) -> None:
    parts = [("files", (f"{n}.bin", b"\x00" * 1_500_000, "application/octet-stream")) for n in range(3)]

    response = await call("POST", FILES, files=parts)

    assert response.status_code == 413
    assert response.json()["type"].endswith(":too-large")


async def test_a_range_is_answered_with_that_range(call: Caller) -> None:
    file = await upload(call)

    response = await call("GET", f"{FILES}/{file['id']}/content", headers={"range": "bytes=1-3"})

    assert response.status_code == 206
    assert response.content == b"PDF"
    assert response.headers["content-range"] == f"bytes 1-3/{len(PDF)}"


async def test_bytes_that_the_caller_has_are_not_sent_again(call: Caller) -> None:
    file = await upload(call)
    first = await call("GET", f"{FILES}/{file['id']}/content")

    again = await call("GET", f"{FILES}/{file['id']}/content", headers={"if-none-match": first.headers["etag"]})

    assert again.status_code == 304
    assert again.content == b""


async def test_what_could_run_script_is_only_downloaded(call: Caller) -> None:
    file = await upload(call, b"<html><script>alert(1)</script></html>", "page.pdf")

    response = await call("GET", f"{FILES}/{file['id']}/content?disposition=inline")

    assert response.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in response.headers["content-security-policy"]


async def test_an_unknown_file_is_not_found(call: Caller) -> None:
    unknown = "01900000-0000-7000-8000-00000000dead"

    assert (await call("GET", f"{FILES}/{unknown}")).status_code == 404
    assert (await call("GET", f"{FILES}/{unknown}/content")).status_code == 404
    assert (await call("GET", f"{FILES}/not-an-id")).status_code == 404


async def test_files_are_listed_page_by_page(call: Caller) -> None:
    ids = [(await upload(call, PDF + str(n).encode()))["id"] for n in range(3)]

    first = (await call("GET", f"{FILES}?limit=2")).json()
    second = (await call("GET", f"{FILES}?limit=2&after={first['next']}")).json()

    assert [file["id"] for file in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None

"""Where the files lie makes no difference: the same process, with its documents in a bucket of an S3 server."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest

from examples.invoice.main import app
from tests.invoice.conftest import served
from tests.invoice.test_samples_go_through_the_process import answered, send_in
from toolkit.config import Settings


@pytest.fixture
def on_s3(settings: Settings) -> Iterator[Settings]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    urlopen(Request(f"{endpoint}/invoices", method="PUT")).close()
    options = {
        "key": "test",
        "secret": "test",
        "endpoint_url": endpoint,
        "client_kwargs": {"region_name": "us-east-1"},
    }
    yield Settings.of(
        {
            "database": {"url": settings.database.url.get_secret_value()},
            "file_storage": {"default": {"url": "s3://invoices/files", "options": options}},
            "ai_models": {"invoice_model": {"provider": "offline"}},
        },
        folder=settings.folder,
    )
    server.stop()


async def test_invoices_on_s3_end_as_they_do_on_disk(on_s3: Settings) -> None:
    async with served(on_s3) as client:
        cases = [await send_in(client, name) for name in ("01-plain-english.pdf", "04-cii.xml", "08-wrong-sums.pdf")]
        ended = [await answered(client, case) if case.asked else case for case in cases]
        found = await app.services.entities.list_entities("invoice", sort="-gross") if app.services.entities else None
        files = await app.services.files.list_files()

    assert [difference for case in ended for difference in case.differences()] == []
    assert found is not None
    assert len(found.items) == 3
    assert {file.storage for file in files} == {"default"}

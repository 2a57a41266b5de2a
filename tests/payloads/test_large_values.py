"""Large values lie encoded in their storage, beside plain ones of before."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.payloads.codecs import EncryptedPayloads
from tests.payloads.dumps import files_with
from toolkit.clock import SystemClock
from toolkit.files import FileStorages, LargeValues
from toolkit.storage import PayloadNotDecoded, Payloads
from toolkit.workflows.failures import RunUndecoded
from toolkit.workflows.large_values import whole

SECRET = "damson-12"
TEXT = f'"{SECRET * 100}"'
RUN = "01a1fece-b5a8-70ed-94d1-bf085a814e8d"


def values(folder: Path, *keys: bytes) -> LargeValues:
    storages = FileStorages.from_configuration(
        {"default": {"url": "file://./files", "shared": True, "options": {}, "redirect": False}}, base_folder=folder
    )
    payloads = Payloads(EncryptedPayloads(*keys)) if keys else None
    return LargeValues(storages, clock=SystemClock(), inline_bytes=100, payloads=payloads)


async def test_large_values_are_encoded_and_plain_ones_stay_readable(tmp_path: Path) -> None:
    old, new = Fernet.generate_key(), Fernet.generate_key()
    plain = await values(tmp_path).keep(TEXT, run_id=RUN)
    assert len(files_with(SECRET, tmp_path)) == 1
    first = await values(tmp_path, old).keep(TEXT, run_id=RUN)
    second = await values(tmp_path, new, old).keep(TEXT, run_id=RUN)

    assert len(files_with(SECRET, tmp_path)) == 1
    assert [await values(tmp_path, new, old).fetch(stub) for stub in (plain, first, second)] == [TEXT] * 3


@pytest.mark.parametrize("keys", [[], [Fernet.generate_key()]], ids=["no codec", "another key"])
async def test_a_large_value_that_cannot_be_decoded_parks_the_run_that_reads_it(
    keys: list[bytes], tmp_path: Path
) -> None:
    stub = await values(tmp_path, Fernet.generate_key()).keep(TEXT, run_id=RUN)

    with pytest.raises(PayloadNotDecoded, match=f"the large value 'values/.*{RUN}"):
        await values(tmp_path, *keys).fetch(stub)
    with pytest.raises(RunUndecoded, match="then release the run"):
        await whole(stub, values(tmp_path, *keys))

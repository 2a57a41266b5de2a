"""Whatever is asked of files and entities, the answer is one that the documentation knows, and never a fault of ours."""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.entities.shop import make_shop
from toolkit.config import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def _send(client: TestClient, case: Any) -> Any:
    """The request as `requests` would put it on the wire."""
    arguments = case.as_transport_kwargs(base_url="http://localhost")
    wire: Any = requests.Request(**{name: value for name, value in arguments.items() if name != "cookies"}).prepare()
    return client.request(
        wire.method, wire.url, headers=dict(wire.headers), content=wire.body or b"", follow_redirects=False
    )


def _ask(client: TestClient, operation: Any, *, examples: int) -> set[int]:
    """Generated requests to one operation; the statuses of the answers, each of which is documented."""
    seen: set[int] = set()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy())
        response = _send(client, case)
        seen.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()
    return seen


def ask_everything(database_url: str, folder: Path, *, examples: int) -> tuple[int, set[int]]:
    """How many operations files and entities have, and what was answered."""
    app = make_shop().configure(Settings.of({"database": {"url": database_url}}, folder=folder))
    with TestClient(app, base_url="http://localhost") as client:
        document = client.get("/openapi.json").json()
        document["paths"] = {
            path: item
            for path, item in document["paths"].items()
            if path.startswith(("/toolkit/v1/files", "/toolkit/v1/entities"))
        }
        results: Any = schemathesis.openapi.from_dict(document).get_all_operations()
        operations = [result.ok() for result in results]
        seen = set[int]().union(*[_ask(client, operation, examples=examples) for operation in operations])
    return len(operations), seen


@pytest.mark.filterwarnings("ignore")
def test_generated_requests_meet_no_fault_and_no_undocumented_answer(database_url: str, tmp_path: Path) -> None:
    count, seen = ask_everything(database_url, tmp_path, examples=12)

    assert count >= 20
    assert {200, 201, 404, 422} <= seen


if __name__ == "__main__":  # python -m tests.entities.test_documented_answers 300
    with tempfile.TemporaryDirectory() as place:
        print(ask_everything(f"sqlite:///{place}/toolkit.db", Path(place), examples=int(sys.argv[1])))

"""The API describes itself, under names that stay."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.installation import Caller

OPERATIONS = {
    "list_agents",
    "get_agent",
    "list_agent_versions",
    "add_agent_version",
    "get_agent_version",
    "compare_agent_versions",
    "activate_agent_version",
    "deactivate_agent",
    "roll_back_agent",
    "simulate_agent",
    "list_agent_cases",
    "put_agent_case",
    "remove_agent_case",
    "capture_agent_case",
    "evaluate_agent",
    "list_agent_evaluations",
    "compare_agent_evaluations",
    "get_agent_evaluation",
    "stream_agent_events",
    "delete_file",
    "release_file",
    "list_entity_kinds",
    "create_task_link",
    "list_task_links",
    "revoke_task_link",
    "show_task_link",
    "answer_task_link",
    "get_task_link_file",
    "count_tasks",
    "stream_task_changes",
    "complete_tasks",
    "assign_tasks",
    "get_task_history",
    "verify_task",
    "claim_task",
    "unclaim_task",
    "assign_task",
    "delegate_task",
    "send_back_task",
    "return_task",
    "edit_task",
    "comment_task",
    "attach_task_files",
    "get_task_draft",
    "save_task_draft",
    "list_users",
    "get_user",
    "put_user",
    "delete_user",
    "list_audit",
    "list_groups",
    "put_group",
    "delete_group",
    "list_substitutions",
    "add_substitution",
    "remove_substitution",
    "activate_rule_version",
    "get_schedule",
    "list_schedules",
    "pause_schedule",
    "resume_schedule",
    "trigger_schedule",
    "cancel_run",
    "change_runs",
    "fork_run",
    "pause_run",
    "release_run",
    "resume_run",
    "retry_run",
    "cancel_task",
    "complete_task",
    "deactivate_rule",
    "emit_event",
    "delete_rule_case",
    "get_rule_coverage",
    "list_rule_cases",
    "put_rule_case",
    "run_rule_cases",
    "analyse_rule_version",
    "back_test_rule_version",
    "diff_rule_version",
    "distrust_rule_version",
    "trust_rule_version",
    "evaluate_rule_file",
    "get_rule_shadow",
    "start_rule_shadow",
    "stop_rule_shadow",
    "explain_decision",
    "explain_rule",
    "list_decisions",
    "simulate_rule",
    "evaluate_rule",
    "evaluate_rule_batch",
    "get_file",
    "get_file_content",
    "get_liveness",
    "get_readiness",
    "get_rule",
    "get_rule_starter",
    "export_rule_tables",
    "import_rule_tables",
    "get_rule_version",
    "get_run",
    "get_task",
    "get_workflow",
    "list_files",
    "list_rule_versions",
    "list_rules",
    "list_runs",
    "list_steps",
    "list_tasks",
    "list_workflows",
    "roll_back_rule",
    "start_run",
    "upload_files",
    "upload_rule_version",
}


@pytest.fixture
async def document(call: Caller) -> dict[str, Any]:
    return dict((await call("GET", "/openapi.json")).json())


async def test_the_names_of_the_operations_are_pinned(document: dict[str, Any]) -> None:
    found = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]

    assert sorted(found) == sorted(OPERATIONS)


async def test_every_operation_says_what_it_does_and_how_it_fails(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["description"], operation
            assert "application/problem+json" in operation["responses"]["default"]["content"]
            assert operation["tags"]


async def test_every_body_is_described_and_closed(document: dict[str, Any]) -> None:
    for name, path in document["paths"].items():
        for method, operation in path.items():
            if method != "post" or name.endswith(("/v1/files", "/tables")) or "/task-links/" in name:
                continue
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert schema["additionalProperties"] is False, name


async def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: Any) -> Any:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    for reference in set(references(document)):
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


async def test_the_documentation_is_served(call: Caller) -> None:
    response = await call("GET", "/docs")

    assert response.status_code == 200
    assert "/openapi.json" in response.text

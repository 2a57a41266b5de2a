"""Questions of agents as human tasks: the one place where the two rooms meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.agents import Question, Reply
from toolkit.errors import DefinitionError, TaskCancelled, TaskExpired
from toolkit.workflows import current_engine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from toolkit.agents import Agent
    from toolkit.human import Human

_TITLES = {
    "approve_tool_calls": "Approve what an agent wants to do",
    "raise_agent_limit": "Raise the limit of an agent, or stop it",
}


def with_tasks_of_agents(
    humans: Mapping[str, Human[Any, Any]], agents: Mapping[str, Agent[Any, Any]] | None = None
) -> dict[str, Human[Any, Any]]:
    """``humans`` and the tasks that agents open; whoever takes answers must know both.

    With the ``agents`` an answer whose edited arguments do not fit is refused at once; without, it is asked for again.

    Raises:
        DefinitionError: an author's task has the name of one of ours.
    """
    from toolkit.agents import LimitDecision, LimitShown

    taken = sorted(humans.keys() & _TITLES.keys())
    if taken:
        raise DefinitionError(
            f"the human task {taken[0]!r} at {humans[taken[0]].source} has the name of the task that agents open; "
            "give it another name"
        )
    return {
        **humans,
        "approve_tool_calls": _approvals(agents or {}),
        "raise_agent_limit": _human("raise_agent_limit", LimitShown, LimitDecision),
    }


def _approvals(agents: Mapping[str, Agent[Any, Any]]) -> Human[Any, Any]:
    from toolkit.agents import CallDecisions, HeldCalls, check_decisions
    from toolkit.human import Human

    class ApproveToolCalls(Human[HeldCalls, CallDecisions]):
        """The task that knows which arguments the tools take."""

        def check_answer(self, input: Any, output: Any) -> None:
            held = HeldCalls.model_validate(input)
            if held.agent in agents:
                check_decisions(agents[held.agent], held, CallDecisions.model_validate(output))

    name = "approve_tool_calls"
    return ApproveToolCalls(name, title=_TITLES[name], input_type=HeldCalls, output_type=CallDecisions)


async def ask_person(question: Question) -> Reply:
    """Open a human task for ``question`` and wait for its end."""
    human = _human(question.kind, type(question.about), question.answer_type, expires=question.expires)
    try:
        result = await human(
            question.about,
            message=question.message,
            suggested_data=question.suggested,
            assign_to=question.assign_to,
        )
    except TaskExpired as expired:
        return Reply(answer=None, task_id=expired.task_id, by=None, at=_now())
    except TaskCancelled as cancelled:
        return Reply(
            answer=None, task_id=cancelled.task_id, by=cancelled.cancelled_by, at=_now(), reason=cancelled.reason
        )
    return Reply(answer=result.output, task_id=result.task_id, by=result.completed_by, at=result.completed_at)


def _human(
    name: str, input_type: type[Any], output_type: type[Any], *, expires: timedelta | None = None
) -> Human[Any, Any]:
    from toolkit.human import Human

    return Human(name, title=_TITLES[name], input_type=input_type, output_type=output_type, timeout=expires)


def _now() -> datetime:
    engine = current_engine()
    assert engine is not None  # a task has just ended in a run of it
    return engine.runtime.clock.now()

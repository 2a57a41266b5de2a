"""Links to tasks: made by whoever manages tasks, used by one person once. GET shows, POST decides."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from toolkit.access import Permission
from toolkit.api.bodies import Body, Text, documented, read, read_json
from toolkit.api.contents import respond_with
from toolkit.api.link_pages import page
from toolkit.api.security import requires
from toolkit.api.services import Installation, Services
from toolkit.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from toolkit.human import LinkService, NewLink, TaskDetail, TaskLink, TaskState, read_form

router = APIRouter(tags=["human tasks"])

PATH = "/task-links"
_OPEN = {TaskState.OPEN, TaskState.CLAIMED}
_MOST_FIELDS = 10_000
_VERSION = re.compile(r"[0-9]{1,18}")


class LinkBody(Body):
    """For whom a link is, and for how long."""

    person: Annotated[Text, Field(min_length=1, max_length=255)]
    expires_in_hours: Annotated[int, Field(ge=1, le=90 * 24)] = 7 * 24


class LinkList(BaseModel):
    """The links of a task, oldest first."""

    items: list[TaskLink]


@router.post(
    "/human-tasks/{task_id}/links",
    status_code=201,
    operation_id="create_task_link",
    dependencies=[requires(Permission.TASKS_MANAGE)],
    openapi_extra=documented(LinkBody),
)
async def create_task_link(task_id: str, request: Request, services: Installation) -> NewLink:
    """Make a link for one person. Its token is shown this once; the page is at `/toolkit/v1/task-links/{token}`."""
    body = await read_json(request, LinkBody, limit=services.request_bytes)
    return await _links(services).create(task_id, body.person, lifetime=timedelta(hours=body.expires_in_hours))


@router.get(
    "/human-tasks/{task_id}/links", operation_id="list_task_links", dependencies=[requires(Permission.TASKS_MANAGE)]
)
async def list_task_links(task_id: str, services: Installation) -> LinkList:
    """The links of a task, and what became of them."""
    return LinkList(items=await _links(services).list(task_id))


@router.delete(
    "/human-tasks/{task_id}/links/{link_id}",
    operation_id="revoke_task_link",
    dependencies=[requires(Permission.TASKS_MANAGE)],
)
async def revoke_task_link(task_id: str, link_id: str, services: Installation) -> TaskLink:
    """Make a link useless from now on."""
    return await _links(services).revoke(task_id, link_id)


@router.get(
    f"{PATH}/{{token}}",
    operation_id="show_task_link",
    dependencies=[requires(Permission.TASK_LINKS_USE)],
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
async def show_task_link(token: str, request: Request, services: Installation) -> Response:
    """The task as a page with a form. However often and by whomever it is fetched, nothing changes."""
    try:
        link, task = await _links(services).look(token)
    except NotFound:
        return _gone()
    return _shown(link, task, base=_base(request))


@router.post(
    f"{PATH}/{{token}}",
    operation_id="answer_task_link",
    dependencies=[requires(Permission.TASK_LINKS_USE)],
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
        }
    },
)
async def answer_task_link(token: str, request: Request, services: Installation) -> Response:
    """Answer the task as the person of the link, from the form of the page. A used link says who decided and when."""
    links = _links(services)
    try:
        link, task = await links.look(token)
    except NotFound:
        return _gone()
    base = _base(request)
    if not _is_usable(link, task) or task.form is None:
        return _shown(link, task, base=base, status=409)
    text = (await read(request, limit=services.request_bytes)).decode("utf-8", "replace")
    refused = partial(page, title=task.title, status=422, link=link, task=task, base=base, is_open=True)
    try:
        sent = parse_qs(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return refused(errors=[{"loc": "", "msg": f"the form has more than {_MOST_FIELDS:,} fields; nothing was kept"}])
    answer = read_form(task.form, sent, files=task.files)
    version, seen = sent.get("toolkit.version", [""])[0], sent.get("toolkit.seen", [""])[0]
    try:
        done = await links.complete(token, to_json(answer), version=_version(version), seen=seen or None)
    except InvalidInput as error:
        return refused(errors=error.errors, given=answer)
    except PermissionDenied as error:
        return page(title=task.title, status=403, errors=[{"loc": "", "msg": str(error)}])
    except (Conflict, NotFound) as error:
        link, task = await links.look(token)
        return _shown(link, task, base=base, status=409, problem=str(error))
    return page(title=done.title, notice="Thank you. Your answer is on record.", link=link)


@router.get(
    f"{PATH}/{{token}}/files/{{file_id}}",
    operation_id="get_task_link_file",
    dependencies=[requires(Permission.TASK_LINKS_USE)],
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def get_task_link_file(token: str, file_id: str, request: Request, services: Installation) -> Response:
    """A document that the task of the link shows; no other file, and only as long as the page shows it."""
    link, task = await _links(services).look(token)
    if not _is_usable(link, task):
        raise Conflict("this link has done its work: its task has ended, or it was used", state=task.state)
    if file_id not in {file.id for file in task.files}:
        raise NotFound("file", file_id)
    metadata = await services.files.metadata(file_id)
    return await respond_with(services.files, metadata, request.headers, inline=False)


def _links(services: Services) -> LinkService:
    return LinkService(services.tasks, services.database)


def _version(text: str) -> int | None:
    """The version that the page showed; what no version can be is another than the task's."""
    if not text:
        return None
    return int(text) if _VERSION.fullmatch(text) else 0


def _is_usable(link: TaskLink, task: TaskDetail) -> bool:
    """Whether the link still opens anything: its page then shows the task, and else what became of it."""
    return link.used_at is None and task.state in _OPEN


def _base(request: Request) -> str:
    """The path of the page itself, also below a mount."""
    return (
        f"{request.scope.get('root_path', '')}{request.scope['path'].removeprefix(request.scope.get('root_path', ''))}"
    )


def _gone() -> Response:
    notice = "This link is not valid: it may have expired or been withdrawn. Ask whoever sent it for a new one."
    return page(title="Link not valid", status=404, notice=notice)


def _shown(link: TaskLink, task: TaskDetail, *, base: str, status: int = 200, problem: str = "") -> Response:
    """The page of a link in whatever state it and its task are."""
    if task.state not in _OPEN:
        by = f" by {task.ended_by}" if task.ended_by else ""
        when = f" on {task.ended_at:%d %B %Y at %H:%M} UTC" if task.ended_at else ""
        return page(title=task.title, status=status, notice=f"This task was {task.state}{by}{when}.")
    if link.used_at is not None:
        notice = f"This link was used by {link.person} on {link.used_at:%d %B %Y at %H:%M} UTC."
        return page(title=task.title, status=status, notice=notice)
    return page(
        title=task.title,
        status=status,
        notice=problem and f"{problem}. What you see now is the present state; please check and send again.",
        link=link,
        task=task,
        base=base,
        is_open=task.sent_back_to is None,
    )

"""The directory: people, groups, and who stands in for whom."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from toolkit.access import Permission
from toolkit.api.bodies import Body, Text, documented, read_json
from toolkit.api.pages import Limit, Page, page_of
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.human import Substitution, User, UserGroup

router = APIRouter(tags=["directory"])

Name = Annotated[Text, Field(max_length=255)]
Key = Annotated[str, Path(min_length=1, max_length=255)]


class UserBody(Body):
    """What is known of a person."""

    display_name: Name = ""
    email: Annotated[Text | None, Field(max_length=254, description="One address, such as `ada@example.com`.")] = None
    channels: Annotated[list[Name] | None, Field(description="The channels chosen; null is all of them.")] = None


class GroupBody(Body):
    """What is known of a group; `members` replaces all of them."""

    display_name: Name = ""
    members: Annotated[list[Name] | None, Field(max_length=10_000)] = None


class SubstitutionBody(Body):
    """Who acts for an absent person, and on which days (both included, UTC)."""

    user: Annotated[Name, Field(min_length=1)]
    substitute: Annotated[Name, Field(min_length=1)]
    first_day: date
    last_day: date


class GroupList(BaseModel):
    """All groups."""

    items: list[UserGroup]


class SubstitutionList(BaseModel):
    """Substitutions, latest first."""

    items: list[Substitution]


@router.get("/users", operation_id="list_users", dependencies=[requires(Permission.DIRECTORY_READ)])
async def list_users(
    *,
    services: Installation,
    after: Annotated[str | None, Query(max_length=255, description="Go on after this person.")] = None,
    limit: Limit = 50,
) -> Page[User]:
    """People, by id."""
    found = await services.tasks.directory.list_users(after=after, limit=limit + 1)
    return page_of(found, limit, cursor_of=lambda user: user.id)


@router.get("/users/{user_id}", operation_id="get_user", dependencies=[requires(Permission.DIRECTORY_READ)])
async def get_user(user_id: Key, services: Installation) -> User:
    """One person with the groups."""
    return await services.tasks.directory.get_user(user_id)


@router.put(
    "/users/{user_id}",
    operation_id="put_user",
    dependencies=[requires(Permission.DIRECTORY_WRITE)],
    openapi_extra=documented(UserBody),
)
async def put_user(user_id: Key, request: Request, services: Installation) -> User:
    """Add a person, or change what is known of one."""
    body = await read_json(request, UserBody, limit=services.request_bytes)
    return await services.tasks.directory.put_user(user_id, **body.model_dump())


@router.delete(
    "/users/{user_id}",
    status_code=204,
    operation_id="delete_user",
    dependencies=[requires(Permission.DIRECTORY_WRITE)],
    response_class=Response,
)
async def delete_user(user_id: Key, services: Installation) -> Response:
    """Remove a person from the directory; tasks keep the id on record."""
    await services.tasks.directory.delete_user(user_id)
    return Response(status_code=204)


@router.get("/groups", operation_id="list_groups", dependencies=[requires(Permission.DIRECTORY_READ)])
async def list_groups(services: Installation) -> GroupList:
    """All groups with their members."""
    return GroupList(items=await services.tasks.directory.list_groups())


@router.put(
    "/groups/{group_id}",
    operation_id="put_group",
    dependencies=[requires(Permission.DIRECTORY_WRITE)],
    openapi_extra=documented(GroupBody),
)
async def put_group(group_id: Key, request: Request, services: Installation) -> UserGroup:
    """Add a group, or change one."""
    body = await read_json(request, GroupBody, limit=services.request_bytes)
    return await services.tasks.directory.put_group(group_id, display_name=body.display_name, members=body.members)


@router.delete(
    "/groups/{group_id}",
    status_code=204,
    operation_id="delete_group",
    dependencies=[requires(Permission.DIRECTORY_WRITE)],
    response_class=Response,
)
async def delete_group(group_id: Key, services: Installation) -> Response:
    """Remove a group."""
    await services.tasks.directory.delete_group(group_id)
    return Response(status_code=204)


@router.get("/substitutions", operation_id="list_substitutions", dependencies=[requires(Permission.DIRECTORY_READ)])
async def list_substitutions(services: Installation, user: str | None = None) -> SubstitutionList:
    """Who stands in for whom, of one absent person or of all."""
    return SubstitutionList(items=await services.tasks.directory.list_substitutions(user=user))


@router.post(
    "/substitutions",
    status_code=201,
    operation_id="add_substitution",
    dependencies=[requires(Permission.DIRECTORY_WRITE)],
    openapi_extra=documented(SubstitutionBody),
)
async def add_substitution(request: Request, services: Installation) -> Substitution:
    """Let somebody act for an absent person."""
    body = await read_json(request, SubstitutionBody, limit=services.request_bytes)
    return await services.tasks.directory.add_substitution(
        body.user, body.substitute, first_day=body.first_day, last_day=body.last_day
    )


@router.delete(
    "/substitutions/{substitution_id}",
    status_code=204,
    operation_id="remove_substitution",
    dependencies=[requires(Permission.DIRECTORY_WRITE)],
    response_class=Response,
)
async def remove_substitution(substitution_id: str, services: Installation) -> Response:
    """End a substitution at once."""
    await services.tasks.directory.remove_substitution(substitution_id)
    return Response(status_code=204)

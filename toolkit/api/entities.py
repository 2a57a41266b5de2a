"""Entities: the same routes for each registered one, with its own shapes in the documentation.

An author's route of the same method and address takes the place of ours.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, TypeAdapter, create_model
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from toolkit.access import Permission
from toolkit.api.bodies import read
from toolkit.api.numbers import keep_digits
from toolkit.api.pages import After, Limit, Page, page_of
from toolkit.api.references import complete_references
from toolkit.api.security import requires
from toolkit.api.services import Installation, Services
from toolkit.entities import (
    LONGEST_KEY,
    EntityDescription,
    EntityField,
    EntityPage,
    EntityService,
    KeptVersion,
    Move,
    documented_filters,
    operators_of,
    tag_of,
)
from toolkit.errors import InvalidInput

Key = Annotated[str, Path(max_length=LONGEST_KEY)]
Cursor = Annotated[str | None, Query(max_length=16_000, description="The `next` of the page before.")]
_OWN_PARAMETERS = frozenset({"sort", "after", "limit", "count", "deleted"})
_READ, _WRITE, _DELETE = (
    [requires(permission)]
    for permission in (Permission.ENTITIES_READ, Permission.ENTITIES_WRITE, Permission.ENTITIES_DELETE)
)


class FieldSummary(BaseModel):
    """What may be done with one field."""

    is_writable: bool
    operators: list[str] = Field(description="How a list may be filtered by it: `field.operator=value`.")
    life_cycle: dict[str, Any] | None = Field(description="States, moves with their conditions, a Mermaid diagram.")


class EntitySummary(BaseModel):
    """One kind of entity."""

    name: str
    description: str
    fields: dict[str, FieldSummary]
    relations: dict[str, str] = Field(description="Name of each relation, and the entity that it leads to.")
    schemas: dict[str, dict[str, Any]] = Field(description="JSON Schemas: what is shown, taken new, and changed.")


class EntitySummaries(BaseModel):
    """All kinds of entities of an application."""

    items: list[EntitySummary]


class RelatedPage(BaseModel):
    """Some rows of another entity."""

    entity: str
    items: list[dict[str, Any]]
    next: str | None


class Versions(BaseModel):
    """Some versions of one row, oldest first."""

    items: list[KeptVersion]
    next: int | None = Field(description="Give this as `after` for the next page; null on the last one.")


def entities_router(service: EntityService | None, *, replaced: Collection[tuple[str, str]] = ()) -> APIRouter:
    """The routes of every entity of ``service`` but those that are ``replaced``: pairs of method and plain path."""
    router = APIRouter(prefix="/entities", tags=["entities"])
    router.add_api_route("", list_kinds, operation_id="list_entity_kinds", dependencies=_READ)
    for description in service.descriptions.values() if service is not None else ():
        for route in _routes(description):
            if (route["methods"][0], plain(f"/entities{route['path']}")) not in replaced:
                router.add_api_route(**route)
    return router


def plain(path: str) -> str:
    """``path`` with its parameters unnamed, so that two spellings of one address compare equal."""
    return re.sub(r"{[^}]*}", "{}", path)


async def list_kinds(services: Installation) -> EntitySummaries:
    """What kinds of entities there are: their fields, filters, relations, life cycles and schemas."""
    known = services.entities.descriptions.values() if services.entities is not None else ()
    return EntitySummaries(items=[_summary(description) for description in known])


def _summary(description: EntityDescription) -> EntitySummary:
    relations = {name: entity for name, (entity, _) in {**description.parents, **description.children}.items()}
    return EntitySummary(
        name=description.name,
        description=(description.entity.__doc__ or "").strip(),
        fields={
            name: FieldSummary(
                is_writable=field.is_writable,
                operators=operators_of(field),
                life_cycle=description.life_cycles[name].described() if name in description.life_cycles else None,
            )
            for name, field in description.fields.items()
        },
        relations=relations,
        schemas={
            "view": description.view.model_json_schema(mode="serialization"),
            "new": description.create_body.model_json_schema(),
            "changes": description.patch_body.model_json_schema(),
        },
    )


def _routes(description: EntityDescription) -> Iterable[dict[str, Any]]:
    """The routes of one entity, as arguments of ``add_api_route``."""
    handlers = _Handlers(description)
    name, root = description.name, f"/{description.name}"
    row = f"{root}/{{key}}"

    def route(
        method: str, path: str, endpoint: Callable[..., Awaitable[Any]], verb: str, **more: Any
    ) -> dict[str, Any]:
        return {"path": path, "endpoint": endpoint, "methods": [method], "operation_id": f"{verb}_{name}", **more}

    page = create_model(
        f"{description.entity.__name__}Page",
        items=(list[description.view], ...),  # type: ignore[name-defined]
        next=(str | None, Field(description="Give this as `after` for the next page; null on the last one.")),
        count=(int | None, Field(default=None, description="How many there are in all, with `?count=true`.")),
    )
    tagged = {"headers": {"ETag": {"description": "Give this as If-Match.", "schema": {"type": "string"}}}}
    yield route("GET", root, handlers.list_rows, "list", dependencies=_READ, response_model=page,
                openapi_extra={"parameters": _filter_parameters(description)})  # fmt: skip
    yield route("GET", row, handlers.get, "get", dependencies=_READ, response_model=description.view,
                responses={200: tagged})  # fmt: skip
    yield route("GET", f"{row}/related/{{relation}}", handlers.list_related, "list_related_of", dependencies=_READ)
    if description.life_cycles:
        yield route("GET", f"{row}/moves", handlers.list_moves, "list_moves_of", dependencies=_READ)
    if description.keeps_history:
        yield route("GET", f"{row}/history", handlers.list_history, "list_history_of", dependencies=_READ)
    if description.registration.is_read_only:
        return
    yield route("POST", root, handlers.create, "create", dependencies=_WRITE, response_model=description.view,
                status_code=201, responses={201: tagged}, openapi_extra=_body(description.create_body))  # fmt: skip
    yield route("PATCH", row, handlers.update, "update", dependencies=_WRITE, response_model=description.view,
                responses={200: tagged},
                openapi_extra=_body(description.patch_body) | {"parameters": [_IF_MATCH]})  # fmt: skip
    yield route("DELETE", row, handlers.delete, "delete", dependencies=_DELETE, status_code=204,
                openapi_extra={"parameters": [_IF_MATCH]})  # fmt: skip
    if description.is_soft_deleted:
        yield route("POST", f"{row}/restore", handlers.restore, "restore", dependencies=_DELETE,
                    response_model=description.view, openapi_extra={"parameters": [_IF_MATCH]})  # fmt: skip


class _Handlers:
    """The routes of one entity; each parses, calls the service, and renders."""

    def __init__(self, description: EntityDescription) -> None:
        self._description = description
        self._name = description.name

    async def list_rows(
        self,
        *,
        request: Request,
        services: Installation,
        sort: Annotated[
            str | None, Query(max_length=500, description="Fields, with a minus to reverse: `-total,number`.")
        ] = None,
        after: Cursor = None,
        limit: Limit = 50,
        count: Annotated[bool, Query(description="Count all rows that fit.")] = False,
        deleted: Annotated[bool, Query(description="Show what was deleted too, where that is kept.")] = False,
    ) -> Any:
        """Rows, newest first unless sorted otherwise; filter by `field=value` and `field.operator=value`."""
        filters = [pair for pair in request.query_params.multi_items() if pair[0] not in _OWN_PARAMETERS]
        found = await _service(services).list_entities(
            self._name,
            filters=filters,
            sort=sort,
            after=after,
            limit=limit,
            is_counted=count,
            with_deleted=deleted,
        )
        # As models, not as JSON values: the page is validated again, and would take base64 for the bytes themselves.
        items = [self._description.show(row) for row in found.items]
        return {"items": items, "next": found.next, "count": found.count}

    async def get(self, *, key: Key, services: Installation, response: Response) -> Any:
        """One row. Its ETag is what a change must bring as If-Match."""
        return self._shown(await _service(services).get(self._name, key), response)

    async def list_related(
        self, *, key: Key, relation: Key, services: Installation, after: Cursor = None, limit: Limit = 50
    ) -> RelatedPage:
        """Rows of another entity that this one refers to, or that refer to it."""
        description, found = await _service(services).list_related(self._name, key, relation, after=after, limit=limit)
        return RelatedPage(entity=description.name, **_rendered(description, found))

    async def list_moves(
        self, *, key: Key, services: Installation, after: After = None, limit: Limit = 50
    ) -> Page[Move]:
        """The states that it went through, oldest first."""
        found = await _service(services).list_moves(self._name, key, after=after, limit=limit + 1)
        return page_of(found, limit, cursor_of=lambda move: move.id)

    async def list_history(
        self,
        *,
        key: Key,
        services: Installation,
        after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
        limit: Limit = 50,
    ) -> Versions:
        """What it said in each version, oldest first."""
        found = await _service(services).list_history(self._name, key, after=after, limit=limit + 1)
        return Versions(items=found[:limit], next=found[limit - 1].version if len(found) > limit else None)

    async def create(self, *, request: Request, services: Installation, response: Response) -> Any:
        """A new row. Fields that are unknown or read-only are refused by name."""
        body = await _read_body(request, services, self._description.create_body)
        row = await _service(services).create(self._name, body)
        key = getattr(row, self._description.key.name)
        response.headers["Location"] = f"{request.url.path}/{quote(str(key), safe='')}"
        return self._shown(row, response)

    async def update(self, *, key: Key, request: Request, services: Installation, response: Response) -> Any:
        """Change some fields, if nobody else has changed the row since (If-Match)."""
        if_match = _if_match(request)
        body = await _read_body(request, services, self._description.patch_body)
        return self._shown(await _service(services).update(self._name, key, body, if_match=if_match), response)

    async def delete(self, *, key: Key, request: Request, services: Installation) -> Response:
        """Delete a row, if nobody else has changed it since (If-Match)."""
        await _service(services).delete(self._name, key, if_match=_if_match(request))
        return Response(status_code=204)

    async def restore(self, *, key: Key, request: Request, services: Installation, response: Response) -> Any:
        """Take back that a row is deleted."""
        row = await _service(services).restore(self._name, key, if_match=_if_match(request))
        return self._shown(row, response)

    def _shown(self, row: Any, response: Response) -> Any:
        response.headers["ETag"] = tag_of(self._description, row)
        return self._description.show(row)


def _service(services: Services) -> EntityService:
    assert services.entities is not None, "these routes exist for registered entities only"
    return services.entities


def _rendered(description: EntityDescription, page: EntityPage) -> dict[str, Any]:
    return {"items": [description.show(row).model_dump(mode="json") for row in page.items], "next": page.next}


def _if_match(request: Request) -> str:
    found = request.headers.get("if-match")
    if found is None:
        raise HTTPException(
            428, "a change needs If-Match with the ETag of what was read, or `*` to change whatever is there"
        )
    return found


async def _read_body(request: Request, services: Services, model: type[BaseModel]) -> str:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await read(request, limit=services.request_bytes)
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(415, f"the body is of type {media_type!r}, expected 'application/json'")
    try:
        text = keep_digits(body).decode()
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"the body is no JSON that can be read: {error}",
            errors=[{"loc": "body", "msg": str(error), "type": "json_invalid"}],
        ) from error
    return await complete_references(text, model.model_json_schema(), services.files.get)


_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of what was read, or `*`.",
    "schema": {"type": "string"},
}


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """How the documentation shows a body; in one piece, because OpenAPI has its definitions elsewhere."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolve(value: Any, depth: int = 0) -> Any:
        if isinstance(value, dict) and isinstance(value.get("$ref"), str):
            return resolve(definitions[value["$ref"].rpartition("/")[2]], depth + 1) if depth < 10 else {}
        if isinstance(value, dict):
            return {key: resolve(one, depth) for key, one in value.items()}
        return [resolve(one, depth) for one in value] if isinstance(value, list) else value

    return {"requestBody": {"required": True, "content": {"application/json": {"schema": resolve(schema)}}}}


def _filter_parameters(description: EntityDescription) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": _filter_schema(name, field)}
        for name, field in documented_filters(description).items()
    ]


def _filter_schema(name: str, field: EntityField) -> dict[str, Any]:
    operator = name.partition(".")[2]
    if operator == "is_null":
        return {"type": "boolean"}
    if operator == "in":
        return {"type": "string", "description": "Values with commas between them."}
    schema = TypeAdapter(field.value_type).json_schema()
    return schema if "$ref" not in schema and "$defs" not in schema else {"type": "string"}

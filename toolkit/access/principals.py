"""Principals: who is asking. One stands in a context variable for as long as a request or a step is under way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from toolkit.access.permissions import Permissions

PrincipalKind: TypeAlias = Literal["person", "service", "anonymous"]


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Someone who acts. ``id`` is what ``started_by``, ``created_by`` and ``completed_by`` hold.

    It comes from a credential and never from a body: whoever can write an id into a request is not thereby that person.
    """

    id: str
    kind: PrincipalKind
    display_name: str = ""
    """For people to read; the id where nothing better is known."""
    permissions: Permissions = frozenset()

    def __post_init__(self) -> None:
        if not self.display_name:
            object.__setattr__(self, "display_name", self.id)


ANONYMOUS: Final = Principal(id="anonymous", kind="anonymous")
"""Nobody in particular: a request without a credential, or code that runs outside of any request."""

SYSTEM: Final = Principal(id="system", kind="service", display_name="System", permissions="*")
"""The toolkit itself, in what nobody asked for: timers, sweeps, expiry."""


@dataclass(frozen=True)
class _Scope:
    principal: Principal
    request_id: str | None


_NOWHERE: Final = _Scope(ANONYMOUS, request_id=None)
_scope: ContextVar[_Scope] = ContextVar("toolkit_access_scope", default=_NOWHERE)


def current_principal() -> Principal:
    """Who acts here; :data:`ANONYMOUS` outside of :func:`acting_as`."""
    return _scope.get().principal


def current_request_id() -> str | None:
    """The id of the request that is being served, as it stands in answers and in the audit trail."""
    return _scope.get().request_id


@contextmanager
def acting_as(principal: Principal, *, request_id: str | None = None) -> Iterator[Principal]:
    """Within the block, and in the tasks it starts, ``principal`` is the one who acts."""
    token = _scope.set(_Scope(principal, request_id=request_id))
    try:
        yield principal
    finally:
        _scope.reset(token)

"""The directory: people, groups, who belongs to which, and who stands in for whom."""

from __future__ import annotations

import builtins
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import col, delete, select

from toolkit.access import record_audit
from toolkit.errors import ConfigurationError, InvalidInput, NotFound
from toolkit.human.addresses import check_address
from toolkit.human.decisions import Capacity
from toolkit.human.tables import GroupRow, MembershipRow, SubstituteRow, UserRow
from toolkit.ids import new_id

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from toolkit.storage import Database


_CONFIGURED = "configured-"


class User(BaseModel):
    """A person; ``id`` is the principal's."""

    model_config = ConfigDict(frozen=True)

    id: str
    display_name: str
    email: str | None = None
    channels: list[str] | None = Field(default=None, description="The channels chosen; null is all of them.")
    groups: list[str] = []


class UserGroup(BaseModel):
    """A group and its members."""

    model_config = ConfigDict(frozen=True)

    id: str
    display_name: str
    members: list[str] = []


class Substitution(BaseModel):
    """``substitute`` acts for ``user`` from ``first_day`` to ``last_day``, both included (days in UTC)."""

    model_config = ConfigDict(frozen=True)

    id: str
    user: str
    substitute: str
    first_day: date
    last_day: date


class Directory:
    """Keeps people and groups. It authenticates nobody: who asks is the business of access."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_users(self, *, after: str | None = None, limit: int = 50) -> builtins.list[User]:
        """People by id, ``limit`` at a time, after the one of this id."""
        query = select(UserRow).order_by(col(UserRow.id)).limit(limit)
        if after is not None:
            query = query.where(col(UserRow.id) > after)
        async with self._database.session() as session:
            rows = (await session.exec(query)).all()
            groups = await _pairs(session, users=[row.id for row in rows])
        return [_user(row, [group for user, group in groups if user == row.id]) for row in rows]

    async def get_user(self, user_id: str) -> User:
        """One person.

        Raises:
            NotFound: nobody has this id.
        """
        async with self._database.session() as session:
            row = await session.get(UserRow, user_id)
            if row is None:
                raise NotFound("user", user_id)
            return _user(row, [group for _, group in await _pairs(session, users=[user_id])])

    async def put_user(
        self,
        user_id: str,
        *,
        display_name: str = "",
        email: str | None = None,
        channels: Sequence[str] | None = None,
    ) -> User:
        """Add a person, or change what is known of one.

        Raises:
            InvalidInput: ``email`` is no address to write to.
        """
        if email is not None:
            try:
                check_address(email)
            except ValueError as error:
                raise InvalidInput(str(error), errors=[{"loc": "email", "msg": str(error), "type": "email"}]) from error
        async with self._database.session() as session:
            row = await _keep_user(session, user_id, display_name=display_name, email=email, channels=channels)
            groups = [group for _, group in await _pairs(session, users=[user_id])]
            await record_audit(session, action="user.saved", object_kind="user", object_id=user_id)
        return _user(row, groups)

    async def delete_user(self, user_id: str) -> None:
        """Remove a person, with memberships and substitutions. Tasks keep the id on record.

        Raises:
            NotFound: nobody has this id.
        """
        async with self._database.session() as session:
            removed = await session.exec(delete(UserRow).where(col(UserRow.id) == user_id))
            if removed.rowcount == 0:
                raise NotFound("user", user_id)
            await session.exec(delete(MembershipRow).where(col(MembershipRow.user_id) == user_id))
            gone = (col(SubstituteRow.user_id) == user_id) | (col(SubstituteRow.substitute_id) == user_id)
            await session.exec(delete(SubstituteRow).where(gone))
            await record_audit(session, action="user.deleted", object_kind="user", object_id=user_id)

    async def list_groups(self) -> builtins.list[UserGroup]:
        """All groups by id, with their members."""
        async with self._database.session() as session:
            rows = (await session.exec(select(GroupRow).order_by(col(GroupRow.id)))).all()
            pairs = await _pairs(session)
        members: dict[str, builtins.list[str]] = {row.id: [] for row in rows}
        for user, group in pairs:
            members.setdefault(group, []).append(user)
        return [UserGroup(id=row.id, display_name=row.display_name, members=members[row.id]) for row in rows]

    async def put_group(
        self, group_id: str, *, display_name: str = "", members: Sequence[str] | None = None
    ) -> UserGroup:
        """Add a group, or change one; ``members`` replaces them all, ``None`` leaves them."""
        async with self._database.session() as session:
            row = await _keep_group(session, group_id, display_name=display_name, members=members)
            query = select(MembershipRow.user_id).where(col(MembershipRow.group_id) == group_id)
            kept = list((await session.exec(query.order_by(col(MembershipRow.user_id)))).all())
            details = {} if members is None else {"members": list(members)}
            await record_audit(session, action="group.saved", object_kind="group", object_id=group_id, details=details)
        return UserGroup(id=row.id, display_name=row.display_name, members=kept)

    async def delete_group(self, group_id: str) -> None:
        """Remove a group.

        Raises:
            NotFound: no group has this id.
        """
        async with self._database.session() as session:
            removed = await session.exec(delete(GroupRow).where(col(GroupRow.id) == group_id))
            if removed.rowcount == 0:
                raise NotFound("group", group_id)
            await session.exec(delete(MembershipRow).where(col(MembershipRow.group_id) == group_id))
            await record_audit(session, action="group.deleted", object_kind="group", object_id=group_id)

    async def list_substitutions(self, *, user: str | None = None) -> builtins.list[Substitution]:
        """Substitutions, of one absent person or of all, latest first."""
        query = select(SubstituteRow).order_by(col(SubstituteRow.id).desc())
        if user is not None:
            query = query.where(col(SubstituteRow.user_id) == user)
        async with self._database.session() as session:
            return [_substitution(row) for row in (await session.exec(query)).all()]

    async def add_substitution(self, user: str, substitute: str, *, first_day: date, last_day: date) -> Substitution:
        """Let ``substitute`` act for ``user`` on these days.

        Raises:
            InvalidInput: somebody would stand in for themselves, or the days are in the wrong order.
        """
        if user == substitute or first_day > last_day:
            loc = "substitute" if user == substitute else "last_day"
            message = "nobody stands in for themselves" if user == substitute else "the last day is before the first"
            raise InvalidInput(message, errors=[{"loc": loc, "msg": message, "type": "substitution"}])
        row = SubstituteRow(id=new_id(), user_id=user, substitute_id=substitute, first_day=first_day, last_day=last_day)
        async with self._database.session() as session:
            session.add(row)
            details = {"substitute": substitute, "first_day": str(first_day), "last_day": str(last_day)}
            await record_audit(
                session, action="substitution.added", object_kind="user", object_id=user, details=details
            )
        return _substitution(row)

    async def remove_substitution(self, substitution_id: str) -> None:
        """End a substitution at once.

        Raises:
            NotFound: there is none of this id.
        """
        async with self._database.session() as session:
            removed = delete(SubstituteRow).where(col(SubstituteRow.id) == substitution_id)
            user = (await session.exec(removed.returning(col(SubstituteRow.user_id)))).scalar_one_or_none()
            if user is None:
                raise NotFound("substitution", substitution_id)
            await record_audit(session, action="substitution.removed", object_kind="user", object_id=user)

    async def load(
        self,
        users: Mapping[str, Mapping[str, Any]],
        groups: Mapping[str, Mapping[str, Any]],
        substitutions: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Take in the people and groups of a configuration; what REST added beside them stays.

        Of a user: ``display_name``, ``email``, ``channels``; of a group: ``display_name``, ``members``; of a
        substitution: ``user``, ``substitute``, ``first_day``, ``last_day``. A substitution that an earlier
        configuration had and this one has not is over.

        Raises:
            ConfigurationError: an e-mail address is none to write to.
        """
        for user_id, user in users.items():
            if user.get("email"):
                try:
                    check_address(user["email"])
                except ValueError as error:
                    raise ConfigurationError(str(error), key=f"directory.users.{user_id}.email") from error
        rows = [_configured(**substitution) for substitution in substitutions]
        async with self._database.session() as session:
            earlier = col(SubstituteRow.id).startswith(_CONFIGURED) & col(SubstituteRow.id).not_in(
                [row.id for row in rows]
            )
            await session.exec(delete(SubstituteRow).where(earlier))
            for row in rows:
                await _upsert(session, row)
            for user_id, user in users.items():
                await _keep_user(session, user_id, **user)
            for group_id, group in groups.items():
                await _keep_group(session, group_id, **group)


async def capacity_of(session: AsyncSession, person: str, *, today: date) -> Capacity:
    """In what capacity ``person`` acts on this day; a substitute's substitute is nobody's."""
    query = select(SubstituteRow.user_id).where(
        col(SubstituteRow.substitute_id) == person,
        col(SubstituteRow.first_day) <= today,
        col(SubstituteRow.last_day) >= today,
    )
    absent = list((await session.exec(query)).all())
    pairs = await _pairs(session, users=[person, *absent])

    def groups_of(who: str) -> frozenset[str]:
        return frozenset(group for user, group in pairs if user == who)

    return Capacity(groups=groups_of(person), substitutes_for={who: groups_of(who) for who in absent})


async def people_of(session: AsyncSession, actors: Sequence[str]) -> set[str]:
    """The people that ``user:ada`` and ``group:finance`` stand for."""
    people = {actor.removeprefix("user:") for actor in actors if actor.startswith("user:")}
    groups = [actor.removeprefix("group:") for actor in actors if actor.startswith("group:")]
    if groups:
        query = select(MembershipRow.user_id).where(col(MembershipRow.group_id).in_(groups))
        people.update((await session.exec(query)).all())
    return people


async def _keep_user(
    session: AsyncSession,
    user_id: str,
    *,
    display_name: str = "",
    email: str | None = None,
    channels: Sequence[str] | None = None,
) -> UserRow:
    chosen = None if channels is None else json.dumps(list(channels))
    row = UserRow(id=user_id, display_name=display_name or user_id, email=email, channels=chosen)
    await _upsert(session, row)
    return row


async def _keep_group(
    session: AsyncSession, group_id: str, *, display_name: str = "", members: Sequence[str] | None = None
) -> GroupRow:
    row = GroupRow(id=group_id, display_name=display_name or group_id)
    await _upsert(session, row)  # holds the group, so that of two lists of members one comes after the other
    if members is not None:
        await session.exec(delete(MembershipRow).where(col(MembershipRow.group_id) == group_id))
        session.add_all(MembershipRow(user_id=user, group_id=group_id) for user in dict.fromkeys(members))
        await session.flush()
    return row


async def _upsert(session: AsyncSession, row: UserRow | GroupRow | SubstituteRow) -> None:
    """Add ``row``, or make the one with its key say the same; somebody else may add or remove it in this moment."""
    from sqlalchemy.dialects import postgresql, sqlite

    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    values = row.model_dump()
    others = {name: value for name, value in values.items() if name != "id"}
    statement = insert(type(row)).values(values).on_conflict_do_update(index_elements=["id"], set_=others)
    await session.exec(statement)


async def _pairs(session: AsyncSession, *, users: Sequence[str] | None = None) -> builtins.list[tuple[str, str]]:
    query = select(MembershipRow.user_id, MembershipRow.group_id).order_by(
        col(MembershipRow.user_id), col(MembershipRow.group_id)
    )
    if users is not None:
        query = query.where(col(MembershipRow.user_id).in_(users))
    return [(user, group) for user, group in (await session.exec(query)).all()]


def _configured(*, user: str, substitute: str, first_day: date, last_day: date) -> SubstituteRow:
    """A substitution of the configuration; its id says so, and is the same at every start."""
    said = json.dumps([user, substitute, str(first_day), str(last_day)])
    return SubstituteRow(
        id=_CONFIGURED + hashlib.sha256(said.encode()).hexdigest()[:32],
        user_id=user,
        substitute_id=substitute,
        first_day=first_day,
        last_day=last_day,
    )


def _user(row: UserRow, groups: Sequence[str]) -> User:
    return User(
        id=row.id,
        display_name=row.display_name,
        email=row.email,
        channels=None if row.channels is None else json.loads(row.channels),
        groups=list(groups),
    )


def _substitution(row: SubstituteRow) -> Substitution:
    return Substitution(
        id=row.id, user=row.user_id, substitute=row.substitute_id, first_day=row.first_day, last_day=row.last_day
    )

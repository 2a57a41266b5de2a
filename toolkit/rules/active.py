"""Which versions decide right now, kept in memory; a generation in the database says when to look again."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from toolkit.access import SYSTEM, acting_as
from toolkit.clock import Clock
from toolkit.errors import ConfigurationError, RuleEvaluationError, RuleVersionRefused
from toolkit.rules.compilation import Compiled
from toolkit.rules.decisions import Choice
from toolkit.rules.definitions import Rule
from toolkit.rules.engine import DecisionEngine
from toolkit.rules.isolation import IsolatedEngine
from toolkit.rules.overrides import Override

if TYPE_CHECKING:
    from toolkit.rules.tables import PointerRow, VersionRow
    from toolkit.rules.versions import Versions

logger = logging.getLogger(__name__)

_KEPT_VERSIONS = 200  # compiled versions in memory, beyond those that are active


class ActiveVersions:
    """What decides for each rule of one process. Asking it is free; :meth:`refresh` reads two small tables.

    A version decides in the sandbox, unless an operator answers for it. ``allows_functions`` says whether a version
    with JavaScript in it may decide at all; the sandbox is never taken from around such a one.
    """

    def __init__(
        self,
        versions: Versions,
        rules: Mapping[str, Rule[Any, Any]],
        *,
        clock: Clock,
        evaluation_seconds: float,
        allows_functions: bool,
    ) -> None:
        self._versions, self._rules, self._clock = versions, rules, clock
        self._allows_functions = allows_functions
        self._engine = DecisionEngine()
        self._isolated = IsolatedEngine(silence_seconds=evaluation_seconds)
        self._pointers: dict[str, PointerRow] = {}
        self._active: dict[str, Override[Any, Any] | RuleEvaluationError] = {}
        self._kept: OrderedDict[tuple[str, int], Override[Any, Any]] = OrderedDict()
        # Those, too, that are forgotten above while a run that is pinned to one, or a chunk, still decides by it.
        self._alive: WeakSet[Override[Any, Any]] = WeakSet()
        self._refreshing = asyncio.Lock()

    # What decides -------------------------------------------------------------------------------------------------

    def pointer(self, name: str) -> PointerRow | None:
        """What is known of ``name`` here, or nothing if it never had a version."""
        return self._pointers.get(name)

    def number(self, name: str) -> int | None:
        """The number of the version that decides now, or ``None`` for the function."""
        pointer = self._pointers.get(name)
        return pointer.active_version if pointer else None

    def choice(self, name: str) -> Choice[Any, Any]:
        """What decides now: an override, the reason why it cannot, or ``None`` for the function."""
        return self._active.get(name)

    async def override(self, name: str, number: int) -> Override[Any, Any]:
        """One version, ready to decide; read from the database when it is first asked for.

        Raises:
            NotFound: the rule has no such version.
            RuleVersionRefused: it was made for other models, or has JavaScript that is not allowed here any more.
        """
        active = self._active.get(name)
        if isinstance(active, Override) and active.number == number:
            return active
        if (name, number) not in self._kept:
            self._kept[name, number] = await self._load(name, number)
        self._kept.move_to_end((name, number))
        self._drop_oldest()
        return self._kept[name, number]

    # Keeping up ---------------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Look which versions are active now, and let those take over whose moment has come."""
        async with self._refreshing:
            now = self._clock.now()
            for name, found in (await self._versions.pointers()).items():
                if name not in self._rules:
                    continue  # of another application, or of yesterday's code
                pointer = found
                if pointer.next_at is not None and pointer.next_at <= now:
                    with acting_as(SYSTEM):
                        pointer = await self._versions.take_over(name)
                await self._follow_if_newer(pointer)

    async def follow(self, pointer: PointerRow) -> None:
        """Take in what this process has just changed itself."""
        async with self._refreshing:
            await self._follow_if_newer(pointer)

    def close(self) -> None:
        """End the child processes. Blocks."""
        self._isolated.close()

    def check(self, row: VersionRow) -> None:
        """Whether a version could decide.

        Raises:
            RuleVersionRefused: it could not.
        """
        self._build(row, is_trusted=False)

    async def _follow_if_newer(self, pointer: PointerRow) -> None:
        known = self._pointers.get(pointer.rule)
        if known is not None and known.generation >= pointer.generation:
            return
        name, number = pointer.rule, pointer.active_version
        if number is None:
            self._active.pop(name, None)
        else:
            try:
                # Anew: whether it is trusted may have changed. Until it is there, the one before decides.
                self._forget_kept(name)
                self._active[name] = await self._load(name, number)
            except (RuleEvaluationError, ConfigurationError) as error:
                refused = error if isinstance(error, RuleEvaluationError) else RuleEvaluationError(name, str(error))
                self._active[name] = refused  # at each evaluation, not passed over
                logger.error(  # noqa: TRY400  # the message says it all
                    "The active version of a rule cannot be run",
                    extra={"event": "rule.version_refused", "rule": name, "version": number},
                )
        self._pointers[name] = pointer

    # Making ready -------------------------------------------------------------------------------------------------

    async def _load(self, name: str, number: int) -> Override[Any, Any]:
        row, is_trusted = await self._versions.get_with_trust(name, number)
        return self._build(row, is_trusted=is_trusted)

    def _build(self, row: VersionRow, *, is_trusted: bool) -> Override[Any, Any]:
        rule = self._rules[row.rule]
        if row.contract_sha256 != rule.contract.sha256:
            raise RuleVersionRefused(
                row.rule,
                f"version {row.number} was made for other input and output models than the rule has today; upload the "
                "graph again, so that it is checked against them, and activate the new version",
            )
        compiled = Compiled.model_validate_json(row.compiled)
        if compiled.has_functions and not self._allows_functions:
            raise RuleVersionRefused(
                row.rule,
                f"version {row.number} has JavaScript in it, which this installation does not allow any more; allow "
                "it by `rules.function_nodes: true` in the configuration, or activate another version",
            )
        override = Override(
            rule.contract,
            compiled,
            self._engine if is_trusted and not compiled.has_functions else self._isolated,
            number=row.number,
            sha256=row.sha256,
        )
        override.load()
        self._alive.add(override)
        return override

    def _forget_kept(self, name: str) -> None:
        for key in [key for key in self._kept if key[0] == name]:
            del self._kept[key]

    def _drop_oldest(self) -> None:
        while len(self._kept) > _KEPT_VERSIONS:
            self._kept.popitem(last=False)
            in_use = {key for one in self._alive for key in one.keys}
            self._engine.keep(in_use)
            self._isolated.keep(in_use)

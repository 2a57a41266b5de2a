"""Entities are the records of a process: an author's tables, with life cycles, history and REST on top."""

from __future__ import annotations

from toolkit.entities.bodies import LONGEST_KEY
from toolkit.entities.columns import ExactDecimal, JsonOf
from toolkit.entities.descriptions import EntityDescription, EntityField, Registration, entity_name
from toolkit.entities.entity import Entity, History, SoftDelete
from toolkit.entities.life_cycles import Guard, LifeCycle, StatusField, Transition
from toolkit.entities.queries import documented_filters, operators_of
from toolkit.entities.reading import read_session
from toolkit.entities.service import EntityPage, EntityService, KeptVersion, tag_of
from toolkit.entities.triggers import Move, Trigger, Triggers, on_transition

__all__ = [
    "LONGEST_KEY",
    "Entity",
    "EntityDescription",
    "EntityField",
    "EntityPage",
    "EntityService",
    "ExactDecimal",
    "Guard",
    "History",
    "JsonOf",
    "KeptVersion",
    "LifeCycle",
    "Move",
    "Registration",
    "SoftDelete",
    "StatusField",
    "Transition",
    "Trigger",
    "Triggers",
    "documented_filters",
    "entity_name",
    "on_transition",
    "operators_of",
    "read_session",
    "tag_of",
]

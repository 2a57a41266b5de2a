"""The API is for programs: REST under ``/toolkit/v1``, where a handler parses, asks one room and renders."""

from __future__ import annotations

from toolkit.api.application import PREFIX, build_api
from toolkit.api.problems import FieldError, Problem
from toolkit.api.security import requires
from toolkit.api.services import Services

__all__ = ["PREFIX", "FieldError", "Problem", "Services", "build_api", "requires"]

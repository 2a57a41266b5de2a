"""Models that answer from a script, as our users have them, for the tests of this room."""

from __future__ import annotations

from toolkit.testing import ScriptedModel
from toolkit.testing import call_tool as call
from toolkit.testing.models import Turn

__all__ = ["ScriptedModel", "Turn", "call"]

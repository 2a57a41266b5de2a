"""One installation put together: the only place that knows every room. Light to import; rooms load at start."""

from toolkit.app.application import Toolkit
from toolkit.app.installation import Installation

__all__ = ["Installation", "Toolkit"]

"""Python's garbage collector, for a process that serves for long."""

from __future__ import annotations

import gc

_PYTHONS_OWN = ((700, 10, 10), (2000, 10, 10), (2000, 10, 0))  # up to 3.12, from 3.13, and where it works in increments
_THRESHOLDS = (5_000, 20, 50)


def collect_rarely() -> None:
    """Leave what is loaded out of later collections, and collect less often; to be called when all is loaded.

    A run under way is a few dozen objects that no collection can free, and Python begins one after 700 more of them:
    while 10,000 runs begin at once, that is a third of the time, and each full collection holds up every answer for a
    tenth of a second. ``toolkit dev``, ``prod`` and ``worker`` do this; a process of your own may. Thresholds that
    somebody has set stay as they are.
    """
    gc.collect()
    gc.freeze()
    if gc.get_threshold() in _PYTHONS_OWN:
        gc.set_threshold(*_THRESHOLDS)

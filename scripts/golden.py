"""``python -m scripts.golden`` writes the golden journals of this version; run it once a release, and keep them all.

A folder that is there already belongs to a release and is left alone, unless ``--replace`` says otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from importlib.metadata import version

from tests.golden.journals import FOLDER, write


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.golden", description=__doc__)
    parser.add_argument("--replace", action="store_true", help="write anew what a version that is not released has")
    options = parser.parse_args()
    released = version("process-toolkit")
    if (FOLDER / released).exists() and not options.replace:
        print(f"{FOLDER / released} is there already; journals of a release are never changed")
        return 1
    for path in asyncio.run(write(released)):
        print(path.relative_to(FOLDER))
    return 0


if __name__ == "__main__":
    sys.exit(main())

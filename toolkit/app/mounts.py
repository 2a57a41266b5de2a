"""Which file system a path lies on: SQLite's locks cannot be trusted over a network.

Source: "SQLite Over a Network", https://sqlite.org/useovernet.html.
"""

from __future__ import annotations

import re
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")
_NETWORK = re.compile(
    r"^(nfs\d*|cifs|smb\w*|9p|virtiofs|afs|ceph|glusterfs|lustre|gfs2|ocfs2|ncpfs|beegfs|vboxsf|prl_fs|drvfs"
    r"|fuse\.(?!fuse-overlayfs$).*|fuse)$"
)


def network_filesystem(path: Path, *, table: Path = _TABLE) -> str | None:
    """The type of the network file system that ``path`` lies on, such as ``nfs4``; ``None`` on a local disk.

    ``path`` need not exist. ``None`` as well where the system has no mount table to read.
    """
    try:
        lines = table.read_text("utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    resolved = path.resolve()
    found = ""
    longest = -1
    for line in lines:
        # "36 35 98:0 /root /mount options - type source superoptions"; a later mount covers an earlier one.
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 6 or not after:
            continue
        mount = Path(_unescaped(fields[4]))
        if resolved.is_relative_to(mount) and len(mount.parts) >= longest:
            longest, found = len(mount.parts), after.split(" ")[0]
    return found if _NETWORK.match(found) else None


def _unescaped(text: str) -> str:
    r"""The kernel writes blanks and backslashes in octal: ``my\040disk``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)

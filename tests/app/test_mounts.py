"""SQLite on a network mount is recognised by the type of the file system."""

from pathlib import Path

import pytest

from toolkit.app.mounts import network_filesystem

TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /home/team rw,nosuid shared:2 - nfs4 server:/export rw,vers=4.2
31 30 8:2 / /home/team/local rw - xfs /dev/sdb1 rw
32 22 0:27 / /mnt/my\\040share rw - cifs //server/share rw
33 22 0:28 / /mnt/host rw - virtiofs host rw
34 22 0:29 / /mnt/ssh rw - fuse.sshfs me@host: rw
35 22 0:30 / /mnt/layers rw - fuse.fuse-overlayfs fuse-overlayfs rw
36 22 0:31 / /mnt/nine rw - 9p host rw
37 22 0:32 / /mnt/twice rw - nfs server:/x rw
38 37 8:3 / /mnt/twice rw - ext4 /dev/sdc1 rw
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/var/lib/toolkit.db", None),
        ("/home/team/toolkit.db", "nfs4"),
        ("/home/team/local/toolkit.db", None),
        ("/home/teamwork/toolkit.db", None),
        ("/mnt/my share/toolkit.db", "cifs"),
        ("/mnt/host/toolkit.db", "virtiofs"),
        ("/mnt/ssh/toolkit.db", "fuse.sshfs"),
        ("/mnt/layers/toolkit.db", None),
        ("/mnt/nine/toolkit.db", "9p"),
        ("/mnt/twice/toolkit.db", None),
    ],
)
def test_the_innermost_mount_decides(tmp_path: Path, path: str, found: str | None) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE, "utf-8")

    assert network_filesystem(Path(path), table=table) == found


def test_without_a_mount_table_nothing_is_claimed(tmp_path: Path) -> None:
    assert network_filesystem(Path("/x"), table=tmp_path / "none") is None

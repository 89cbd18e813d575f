"""State on a network file system is refused with a way out; what containers show of this machine is local."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StateError
from pipeline.ledger import place

MOUNTED = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 27 0:40 / /home/a\040b rw,relatime shared:2 master:3 - nfs4 server:/export/a\040b rw
32 27 0:41 / /mnt/share rw - cifs //server/share rw
33 32 0:42 / /mnt/share/local rw - ext4 /dev/vdb rw
34 27 0:43 / /mnt/far rw - fuse.sshfs me@there:/ rw
35 27 0:44 / /mnt/box rw - fuse.fuse-overlayfs box rw
36 27 0:45 / /mnt/c rw - 9p C:\134 rw
37 27 0:46 / /over rw - ext4 /dev/vdc rw
38 27 0:47 / /over rw - nfs server:/over rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/out", "ext4"),
        ("/home/a b/out", "nfs4"),
        ("/home/a bc", "ext4"),
        ("/mnt/share", "cifs"),
        ("/mnt/share/local/x", "ext4"),
        ("/mnt/far/x", "fuse.sshfs"),
        ("/mnt/box/x", "fuse.fuse-overlayfs"),
        ("/mnt/c/Users", "9p"),
        ("/over/x", "nfs"),
    ],
)
def test_the_nearest_mount_decides(folder: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = place.mounts_of(MOUNTED)
    assert place.kind_of(Path(folder), mounted) == kind
    monkeypatch.setattr(place, "mounts", lambda: mounted)
    if kind in {"ext4", "9p", "fuse.fuse-overlayfs"}:
        place.refuse_remote(Path(folder), "")
    else:
        with pytest.raises(StateError, match=f"{kind}.*--state DIR"):
            place.refuse_remote(Path(folder), "--state DIR")


@given(st.binary(max_size=200))
def test_whatever_the_list_holds_it_is_read(listed: bytes) -> None:
    place.kind_of(Path("/"), place.mounts_of(listed))


def test_this_machine_tells_its_mounts() -> None:
    if Path("/proc/self/mountinfo").exists():
        assert place.kind_of(Path("/proc/self"), place.mounts()) == "proc"


def test_what_macos_lists_is_read() -> None:
    listed = "/dev/disk1s1 on / (apfs, local)\n//me@nas/a b on /Volumes/a b (smbfs, nodev)\n"
    assert place._LISTED.findall(listed) == [("/", "apfs"), ("/Volumes/a b", "smbfs")]

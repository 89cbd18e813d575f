"""Whether state may lie in a folder: a network file system loses locks and logs, and is refused."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pipeline.errors import StateError

#: File systems of other machines, as Linux and macOS call them. Not here: overlay, 9p, virtiofs and
#: drvfs, with which containers, sandboxes and WSL show folders of this very machine.
_REMOTE: Final = frozenset(
    {
        "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.davfs", "fuse.gcsfuse",
        "fuse.glusterfs", "fuse.goofys", "fuse.juicefs", "fuse.mountpoint-s3", "fuse.rclone",
        "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "macfuse_sshfs", "ncpfs", "nfs",
        "nfs4", "ocfs2", "orangefs", "pvfs2", "smb2", "smb3", "smbfs", "sshfs", "webdav",
    }
)  # fmt: skip
_MOUNTS: Final = Path("/proc/self/mountinfo")
#: `//server/share on /Volumes/share (smbfs, nodev, ...)`: how macOS lists what is mounted.
_LISTED: Final = re.compile(r"^.* on (/.*) \(([^,)]+)", re.MULTILINE)


def refuse_remote(folder: Path, way_out: str) -> None:
    """Refuse a folder on a network file system.

    Linux tells by /proc/self/mountinfo, macOS by `mount`; on another system nothing is checked.

    Raises:
        StateError: it lies on one; `way_out` says what to do.

    """
    kind = kind_of(folder, mounts())
    if kind in _REMOTE:
        raise StateError(
            f"{folder} is on a network file system ({kind}), where a ledger can be damaged: {way_out}"
        )


def kind_of(folder: Path, mounted: Iterable[tuple[str, str]]) -> str:
    """The type of the file system of a folder: that of the longest mount point above it, the last one mounted there."""
    real = os.path.realpath(folder)
    found, kind = "", ""
    for point, name in mounted:
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found):
            found, kind = point, name
    return kind


def mounts() -> list[tuple[str, str]]:
    """Mount points with their types, in the order of mounting; none where the system does not tell."""
    if _MOUNTS.exists():
        return mounts_of(_MOUNTS.read_bytes())
    if sys.platform != "darwin":
        return []
    try:
        listed = subprocess.run(["/sbin/mount"], capture_output=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return _LISTED.findall(os.fsdecode(listed))


def mounts_of(mountinfo: bytes) -> list[tuple[str, str]]:
    """The mount points of mountinfo (man 5 proc): blanks and the like stand there as octal escapes."""
    found = []
    for line in mountinfo.split(b"\n"):
        before, _, after = line.partition(b" - ")
        fields = before.split(b" ")
        if len(fields) > 4 and after:
            point = re.sub(
                rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8) & 0xFF]), fields[4]
            )
            found.append((os.fsdecode(point), os.fsdecode(after.split(b" ")[0])))
    return found

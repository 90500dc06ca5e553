"""SQLite lies on a disk of this host, or is refused: its locks do not hold across a network.

In WAL mode its readers and writers share memory, which two hosts cannot: each would overwrite what
the other has written.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePath

MOUNTS = Path("/proc/self/mounts")
# As the kernel names them. What a virtual machine's host lends its guest (9p, virtiofs) is used by
# one host, as a rule, and is not refused.
NETWORK_TYPES = frozenset(
    [
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "coda", "davfs", "ceph"),
        *("glusterfs", "lustre", "gpfs", "beegfs", "panfs", "pvfs2", "orangefs", "ocfs2", "gfs2"),
    ]
)
NETWORK_FUSE = frozenset(
    [
        *("sshfs", "s3fs", "rclone", "glusterfs", "ceph", "davfs2", "curlftpfs", "smbnetfs"),
        *("gcsfuse", "juicefs", "goofys", "mfs", "blobfuse", "blobfuse2", "gvfsd-fuse"),
    ]
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mounts: what is mounted, where, and as which type of file system."""

    source: str
    place: str
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether other hosts may write to it."""
        kind, _, program = self.kind.partition(".")
        return kind in NETWORK_TYPES or (kind in ("fuse", "fuseblk") and program in NETWORK_FUSE)


def mount_of(path: PurePath, mounts: str) -> Mount | None:
    """The mount that the absolute `path` lies on, by the text of /proc/self/mounts.

    Of several at one place the last hides the others. Lines that are none are passed over.
    """
    found: Mount | None = None
    for line in mounts.split("\n"):
        words = line.split(" ")
        if len(words) < 3:
            continue
        mount = Mount(*(_ESCAPED.sub(_character, word) for word in words[:3]))
        deeper = found is None or len(mount.place) >= len(found.place)
        if deeper and path.is_relative_to(mount.place):
            found = mount
    return found


def why_refused(file: Path) -> str | None:
    """Why SQLite must not have `file`: a line that names the mount and the mend. None: it may.

    Where the host does not tell its mounts, nothing is refused.
    """
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        real = file.resolve()  # a link may lead to another disk
    except (OSError, RuntimeError):
        return None
    mount = mount_of(real, mounts)
    if mount is None or not mount.is_network:
        return None
    return (
        f"run database {file} is on a network disk ({mount.source} at {mount.place}, "
        f"{mount.kind}), where SQLite loses what two hosts write: name another place with "
        'database_url in maejobs.toml: "sqlite:////var/lib/maejobs/runs.db" on a disk of this '
        'host, or "postgresql://HOST/maejobs"'
    )


def _character(escaped: re.Match[str]) -> str:
    return chr(int(escaped[1], 8))

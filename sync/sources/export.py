"""A source that is a file: an exported configuration, or an API response around one."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from sync.errors import SourceError
from sync.firewall.configuration import Provenance, Snapshot
from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import MAX_BYTES, parse


@dataclass(frozen=True, slots=True)
class ExportSource:
    """An exported configuration; its version is the SHA-256 of the file."""

    name: str
    path: Path

    def revision(self) -> str:
        try:
            status = self.path.stat()
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return f"{status.st_dev}:{status.st_ino} {status.st_size} {status.st_mtime_ns}"

    def read(self) -> Snapshot:
        data = _bytes(self.path)
        return Snapshot(
            read_configuration(parse(data, str(self.path))),
            Provenance(
                source=self.name,
                origin=str(self.path),
                version=f"sha256:{hashlib.sha256(data).hexdigest()}",
            ),
        )


def _bytes(path: Path) -> bytes:
    try:
        # Opened without waiting: a named pipe without a writer must not hold up a sync.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(f"{path} is not a regular file; name an exported configuration")
            if status.st_size > MAX_BYTES:
                raise SourceError(
                    f"{path} has {status.st_size:,} bytes, more than any Panorama configuration "
                    f"({MAX_BYTES:,}); name an exported configuration"
                )
            return opened.read()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(
        f"cannot read {path}: {error.strerror}; export the configuration there, or correct the "
        "path of the source (sources[].path, or the file that the command line names)"
    )

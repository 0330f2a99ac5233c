"""The errors that can stop a command, and their exit codes.

One hierarchy. Each message has one sentence or two: what happened, to what, and what to do.
The exit codes are an interface for pipelines: they come from `exit_code` here and nowhere else.
"""

from typing import ClassVar


class ZonebridgeError(Exception):
    """The command failed; the message says what happened, to what, and what to do."""

    exit_code: ClassVar[int] = 1


class UsageError(ZonebridgeError):
    """The command line or the configuration is wrong; nothing was read or written."""

    exit_code = 64


class SourceError(ZonebridgeError):
    """A source could not be read; its clusters keep their last good state."""

    exit_code = 4


class ClusterError(ZonebridgeError):
    """A cluster could not be read or written."""

    exit_code = 5


class StoreError(ZonebridgeError):
    """The store could not be opened, read or written."""


class LeaseError(ZonebridgeError):
    """Another process writes to the cluster; nothing was written to it."""

    exit_code = 7


class AuditBrokenError(ZonebridgeError):
    """The audit trail does not verify; the message names the first bad record."""

    exit_code = 8

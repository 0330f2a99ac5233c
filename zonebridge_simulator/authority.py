"""A certificate authority for servers on loopback."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import trustme


@dataclass(frozen=True)
class Authority:
    """Signs certificates, and keeps them and its own in a directory."""

    directory: Path
    _ca: trustme.CA = field(repr=False)

    @classmethod
    def make(cls, directory: Path) -> Self:
        """The authority that has `ca.pem` and `ca.key` there, a new one if either is missing.

        `ValueError` if they are none.
        """
        certificate, key = directory / "ca.pem", directory / "ca.key"
        if certificate.exists() and key.exists():
            kept = trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
            return cls(directory, kept)
        made = cls(directory, trustme.CA())
        write_secret(key, made._ca.private_key_pem.bytes())
        made._ca.cert_pem.write_to_path(certificate)
        return made

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def certificate(self, host: str = "127.0.0.1", *, days: int = 365) -> tuple[Path, Path]:
        """A server certificate for an address or a DNS name, and its key.

        It has expired if `days` is negative.
        """
        made = self._ca.issue_cert(host, not_after=datetime.now(UTC) + timedelta(days=days))
        certificate, key = (self.directory / f"{host}-{days}.{end}" for end in ("pem", "key"))
        made.cert_chain_pems[0].write_to_path(certificate)
        write_secret(key, made.private_key_pem.bytes())
        return certificate, key


def write_secret(path: Path, secret: bytes) -> None:
    """Write a file that nobody else can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
        os.fchmod(opened.fileno(), 0o600)
        opened.write(secret)

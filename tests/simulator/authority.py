"""A certificate authority for servers on loopback."""

import ipaddress
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest


@dataclass(frozen=True)
class Authority:
    """Signs certificates with openssl."""

    directory: Path

    @classmethod
    def make(cls, directory: Path) -> Self:
        """A new authority that keeps its files there."""
        made = cls(directory)
        made._openssl(
            *_request("ca"), "-x509", "-days", "2", "-out", "ca.pem",
            "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip
        return made

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def certificate(self, host: str = "127.0.0.1", *, days: int = 2) -> tuple[Path, Path]:
        """A server certificate for an address or a DNS name, and its key.

        It has expired if `days` is negative.
        """
        folder = Path(tempfile.mkdtemp(prefix="server-", dir=self.directory))
        (folder / "extensions").write_text(
            f"subjectAltName={_alternative(host)}\n"
            "basicConstraints=critical,CA:FALSE\n"
            "keyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=serverAuth\n"
            "subjectKeyIdentifier=hash\n"
            "authorityKeyIdentifier=keyid\n"
        )
        server = f"{folder.name}/server"
        self._openssl(*_request(server), "-out", f"{server}.csr")
        self._openssl(
            "x509", "-req", "-in", f"{server}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", str(days), "-extfile", f"{folder.name}/extensions",
            "-out", f"{server}.pem",
        )  # fmt: skip
        return folder / "server.pem", folder / "server.key"

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)


def _request(name: str) -> list[str]:
    return [
        "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-subj", f"/CN={name.rpartition('/')[2]}", "-keyout", f"{name}.key",
    ]  # fmt: skip


def _alternative(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One authority for all simulators of a test process."""
    return Authority.make(tmp_path_factory.mktemp("authority"))

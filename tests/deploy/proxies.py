"""nginx and Caddy, run with the files that deploy/ has for them."""

import datetime as dt
import ipaddress
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.deploy.machine import free_port, program

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 20.0


class Certificate:
    """A key and a self-signed certificate for 127.0.0.1, in `folder`, good for an hour."""

    def __init__(self, folder: Path) -> None:
        self.path, self.key = folder / "certificate.pem", folder / "key.pem"
        key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.key.write_bytes(key.private_bytes(*private))

    @property
    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.path))


def _nginx(folder: Path, port: int, upstream: int, certificate: Certificate) -> list[str]:
    text = _replaced(
        ROOT / "deploy/nginx.conf",
        {
            "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
            "    listen [::]:443 ssl http2;\n": "",
            "127.0.0.1:8080": f"127.0.0.1:{upstream}",
            "/etc/ssl/favsync/fullchain.pem": str(certificate.path),
            "/etc/ssl/favsync/privkey.pem": str(certificate.key),
        },
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    main = f"daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
    (folder / "nginx.conf").write_text(f"{main}http {{\naccess_log off;\n{temporary}\n{text}\n}}\n")
    return [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"]


def _caddy(folder: Path, port: int, upstream: int, certificate: Certificate) -> list[str]:
    text = _replaced(
        ROOT / "deploy/Caddyfile",
        {
            "favorites.example.com {\n": f"127.0.0.1:{port} {{\n\ttls {certificate.path} {certificate.key}\n",
            "127.0.0.1:8080": f"127.0.0.1:{upstream}",
        },
    )
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n\n{text}")
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


KINDS: dict[str, Callable[[Path, int, int, Certificate], list[str]]] = {"nginx": _nginx, "caddy": _caddy}


class Proxy:
    """One of KINDS, in front of `upstream` on 127.0.0.1, with `folder` for whatever it writes."""

    def __init__(self, kind: str, folder: Path, upstream: int) -> None:
        self.certificate = Certificate(folder)
        self.port = free_port()
        command = KINDS[kind](folder, self.port, upstream, self.certificate)
        homes = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=folder, env=os.environ | homes, stdout=log, stderr=log)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            assert self._process.poll() is None, self._log.read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.05)
            else:
                return


def _replaced(path: Path, places: dict[str, str]) -> str:
    text = path.read_text()
    for old, new in places.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text

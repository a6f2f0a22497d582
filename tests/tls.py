"""Certificates for servers on the loopback, and who believes them."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True)
class Certificate:
    """Files for a server, and what its clients need to trust it."""

    file: Path
    key: Path
    trust: ssl.SSLContext


def certificate(folder: Path) -> Certificate:
    """Make an authority and a certificate for 127.0.0.1; the key is in PKCS#8, as granian wants it."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    file, key = folder / "cert.pem", folder / "key.pem"
    file.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    private = load_pem_private_key(issued.private_key_pem.bytes(), None)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return Certificate(file, key, trust)

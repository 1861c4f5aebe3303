"""Keys and certificates for the tests of encrypted ports."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path


def certificate(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """A new key and a certificate that signs itself, for 127.0.0.1, in the place of what is there."""
    key, made = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(made), "-days", "2", "-subj", f"/CN={name}"]
    # As a leaf, and not an authority: the REST port takes no authority's certificate as a client's own.
    command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True, capture_output=True)
    return key, made


def ssl_config(file: Path, key: Path, certificate: Path, *, verify: bool) -> Path:
    """An `--ssl_config_file`, whose clients show the certificate itself."""
    texts = {"server_key": key, "server_cert": certificate, "custom_ca": certificate}
    lines = [f"{name}: {json.dumps(path.read_text())}" for name, path in texts.items()]
    made = file.with_suffix(".made")
    made.write_text("\n".join([*lines, f"client_verify: {str(verify).lower()}"]))
    return made.rename(file)

"""Signatures: who vouches for a manifest, by the SSH keys people already have.

    ssh-keygen -Y sign -n speedrun-record -f KEY manifest.json        makes manifest.json.sig
    ssh-keygen -Y verify -n speedrun-record -f allowed_signers ...    checks it

`allowed_signers` is OpenSSH's format: a line holds a principal (here: a name) and a public key. A signature says who
handed a record in. It does not say that the numbers are true: the owner of a machine can sign anything.
"""

import base64
import binascii
import hashlib
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import RecordError, UserError
from ..formats import layout
from ..system.plainfile import read_plain

NAMESPACE = "speedrun-record"
MAX_SIGNATURE_BYTES = 2**14
MAX_SIGNERS_BYTES = 2**20
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_LINE = 70  # columns of the base64 that ssh-keygen writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What is known of a signature.

    unsigned: there is none. bad: it is not a signature of these bytes, or by a key that has been withdrawn.
    unknown_key: it is a signature of these bytes, by a key that nobody vouches for. good: by an allowed signer.
    """

    status: Literal["unsigned", "bad", "unknown_key", "good"]
    key: str | None = None  # fingerprint, SHA256:...
    principal: str | None = None  # the signer's name in allowed_signers
    problem: str = ""  # what is wrong with a bad one

    def __str__(self) -> str:
        named = {"good": f"signed by {self.principal}", "unknown_key": f"signed by an unknown key {self.key}"}
        return named.get(self.status, f"bad signature: {self.problem}" if self.status == "bad" else "unsigned")


def sign(path: Path, key: Path) -> None:
    """Write `<path>.sig`. `key` is a private key, or a public one whose private half an agent holds.

    ssh-keygen asks for a passphrase on the terminal where the key has one. Raises UserError.
    """
    done = subprocess.run(
        [_keygen(), "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key), str(path)], stderr=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        raise UserError(f"expected an SSH key that can sign at {key}, found: {_last_line(done.stderr)}")


def fingerprint_of_key(key: Path) -> str:
    """SHA256:... of a private or public key file. Raises UserError."""
    if not key.is_file():
        raise UserError(f"expected an SSH key at {key}, found none; make one with `ssh-keygen -t ed25519`")
    done = _run("-l", "-E", "sha256", "-f", str(key))
    words = done.stdout.split()
    if done.returncode != 0 or len(words) < 2:
        raise UserError(f"expected an SSH key at {key}, found: {_last_line(done.stderr)}")
    return words[1]


def check_signature(folder: Path, signers: Path) -> Signature:
    """The signature beside a folder's manifest, checked against a file of allowed signers that need not exist.

    Raises UserError where there is a signature and no ssh-keygen to check it with.
    """
    path = folder / layout.SIGNATURE_FILE
    if not path.exists() and not path.is_symlink():
        return Signature(status="unsigned")
    try:
        armour = read_plain(path, MAX_SIGNATURE_BYTES, RecordError)
        message = read_plain(folder / layout.MANIFEST_FILE, layout.MAX_RECORD_BYTES, RecordError)
        allowed = read_plain(signers, MAX_SIGNERS_BYTES, RecordError) if signers.exists() else b""
        key = fingerprint_of_signature(armour)
    except RecordError as error:
        return Signature(status="bad", problem=str(error))
    with tempfile.TemporaryDirectory(prefix="speedrun-signature-") as temporary:
        copy, allowed_copy = Path(temporary) / "signature", Path(temporary) / "allowed"
        copy.write_bytes(armour)
        allowed_copy.write_bytes(allowed)
        return _verdict(message, copy, allowed_copy, key)


def _verdict(message: bytes, signature: Path, allowed: Path, key: str) -> Signature:
    common = ("-n", NAMESPACE, "-s", str(signature))
    if _run("-Y", "check-novalidate", *common, message=message).returncode != 0:
        return Signature(status="bad", key=key, problem="it was not made of this manifest")
    named = _run("-Y", "find-principals", "-s", str(signature), "-f", str(allowed))
    if named.returncode != 0 or not named.stdout.strip():
        return Signature(status="unknown_key", key=key)
    principal = named.stdout.splitlines()[0]
    done = _run("-Y", "verify", *common, "-f", str(allowed), "-I", principal, message=message)
    if done.returncode != 0:
        return Signature(status="bad", key=key, problem=_last_line(done.stdout + done.stderr))
    return Signature(status="good", key=key, principal=principal)


def fingerprint_of_signature(armour: bytes) -> str:
    """The key a signature claims to be of. Raises RecordError unless it is armoured exactly as ssh-keygen does.

    The blob (OpenSSH's PROTOCOL.sshsig): "SSHSIG", uint32 version, string public key, ...
    """
    blob = _unarmoured(armour)
    version, length = struct.unpack_from(">II", blob, 6) if len(blob) >= 14 else (0, 0)
    key = blob[14 : 14 + length]
    if not blob.startswith(b"SSHSIG") or version != 1 or len(key) != length:
        raise RecordError("expected an SSH signature, found something else")
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def _unarmoured(armour: bytes) -> bytes:
    """The bytes inside; there is exactly one way to wrap them, so that no byte of the file is without meaning."""
    lines = armour.decode("ascii", "replace").split("\n")
    try:
        blob = base64.b64decode("".join(lines[1:-2]), validate=True)
    except binascii.Error as error:
        raise RecordError("expected an SSH signature in base64, found something else") from error
    text = base64.b64encode(blob).decode()
    body = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    if lines != [_BEGIN, *body, _END, ""]:
        raise RecordError("expected an SSH signature as ssh-keygen writes it, found other bytes")
    return blob


def _run(*arguments: str, message: bytes = b"") -> "subprocess.CompletedProcess[str]":
    done = subprocess.run([_keygen(), *arguments], input=message, capture_output=True, timeout=60)
    out, err = (part.decode(errors="replace") for part in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def _keygen() -> str:
    found = shutil.which("ssh-keygen")
    if found is None:
        raise UserError("expected ssh-keygen on the path, to sign and to check signatures; install openssh-client")
    return found


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"

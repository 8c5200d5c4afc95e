"""The languages of a campaign: each follows from one secret whose digest the plan holds before the first run.

On the embedded corpus both runs of a pair speak one language, and every other pair, or single run, another. Were they
drawn run by run, somebody could draw until one came out easy; so one secret is drawn when the campaign begins, its
SHA-256 stands in the plan, and the ledger's last entry reveals it. The secret lies in the campaign's folder, in a file
that only its user reads, where no sandboxed process looks; at level `process`, where a submission reads whatever its
user can, that is as much as can be said, and what each run has told the world already is public anyway: the second run
of a pair starts when the first has revealed their language, but nothing of a run outlives it inside the sandbox, and
sources are fixed by the plan.

A run that the machine or the referee ended is tried again, then in a new language.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from data.corpus.language import SECRET_BYTES

from ..errors import UserError
from ..formats import layout
from ..system.plainfile import read_plain
from .campaign import Plan, Slot

_PURPOSE = "speedrun language of pair {pair}, repeat {repeats}"


def pair_of(slot: Slot) -> int:
    """The number that runs in one language share: of their pair, or of the slot where there is one arm."""
    return slot.index if slot.pair is None else slot.pair


def language_secret(campaign_secret: bytes, slot: Slot, repeats: int) -> bytes:
    """The secret of a run's language: HMAC-SHA-256 of the pair and of how often one of its runs was tried in vain."""
    purpose = _PURPOSE.format(pair=pair_of(slot), repeats=repeats)
    return hmac.digest(campaign_secret, purpose.encode(), "sha256")


def keeps_promise(secret: str | None, promised: str | None) -> bool:
    """Whether a revealed secret, hexadecimal, is the one of this digest; both None: nothing was promised."""
    if secret is None or promised is None:
        return secret is promised
    return hashlib.sha256(bytes.fromhex(secret)).hexdigest() == promised


def draw_secret(folder: Path) -> str:
    """Draw a campaign's secret and keep it in its folder; returns its SHA-256, for the plan."""
    secret = secrets.token_bytes(SECRET_BYTES)
    descriptor = os.open(folder / layout.LANGUAGES_FILE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(secret.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(secret).hexdigest()


def read_secret(folder: Path, plan: Plan) -> bytes | None:
    """The secret of a campaign; None where its plan has no languages. Raises UserError unless it is there."""
    if plan.languages_sha256 is None:
        return None
    path = folder / layout.LANGUAGES_FILE
    try:
        secret = bytes.fromhex(read_plain(path, 1024).decode("ascii").strip())
    except ValueError:
        secret = b""
    if hashlib.sha256(secret).hexdigest() != plan.languages_sha256:
        sentence = f"expected the secret of the campaign's languages in {path}, found another"
        raise UserError(f"{sentence}; restore it, or start another campaign")
    return secret


def forget_secret(folder: Path) -> None:
    """Once the ledger has revealed it, the file is of no use."""
    (folder / layout.LANGUAGES_FILE).unlink(missing_ok=True)

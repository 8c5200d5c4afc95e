"""Fixtures for records: a folder of tracks of its own, SSH keys, invented bundles that become records."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harness.formats import layout
from harness.records.submitting import Claims, draft, write

TINY = Path(__file__).resolve().parent.parent / "tracks" / "tiny" / "track.toml"
WITH_SEEDS = """
import hashlib
import sys
from types import SimpleNamespace
from harness.campaigns import campaign, languages
campaign._draw_seeds = lambda runs: SEEDS[:runs]
languages.secrets = SimpleNamespace(token_bytes=lambda length: hashlib.sha512(b"SEEDS").digest()[:length])
sys.argv[0] = "speedrun"
from harness.__main__ import main
main()
"""


@pytest.fixture(scope="session", autouse=True)
def _no_terminal() -> Iterator[None]:
    """Whoever starts the tests may have a terminal of 40 columns, or want colours in a log: output is read here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def with_seeds() -> Callable[..., tuple[str, ...]]:
    """with_seeds(1, 2, ...): the console command whose campaigns draw these seeds, and languages that follow from them.

    Of real runs with draws of their own, one campaign in a hundred has two losses alike to four decimals, or a mean
    that lies apart from that of another: the referee then says, rightly, that nothing is shown.
    """
    return lambda *seeds: (sys.executable, "-c", WITH_SEEDS.replace("SEEDS", repr(seeds)))


@pytest.fixture(scope="session")
def descriptors() -> Callable[[], set[tuple[int, str]]]:
    """descriptors(): this process's open ones and what each leads to. What is new among them was opened meanwhile; a
    mere count also falls when the garbage of another test is collected."""

    def look() -> set[tuple[int, str]]:
        found = set()
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # that of the listing itself
                found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
        return found

    return look


@pytest.fixture(scope="session")
def named_on_a_command_line() -> Callable[[str], list[int]]:
    """named_on_a_command_line(text): processes that have it there; without pgrep, whose patterns find prefixes too."""

    def look(text: str) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):  # gone meanwhile
                if entry.name.isdigit() and text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    return look


@pytest.fixture
def contest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the tiny track among records of its own, where SPEEDRUN_RECORDS points."""
    folder = tmp_path / "records" / "tiny"
    folder.mkdir(parents=True)
    shutil.copy(TINY, folder / layout.TRACK_FILE)
    monkeypatch.setenv("SPEEDRUN_RECORDS", str(folder.parent))
    return folder


@pytest.fixture(scope="session")
def make_key(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """make_key(name, kind="ed25519"): a private key without a passphrase, made once for each name."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs ssh-keygen")
    folder = tmp_path_factory.mktemp("keys")

    def make(name: str, kind: str = "ed25519") -> Path:
        path = folder / f"{name}-{kind}"
        if not path.exists():
            subprocess.run(
                ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", str(path)], check=True, timeout=600
            )
        return path

    return make


@pytest.fixture
def allow(contest: Path) -> Callable[..., Path]:
    """allow(name=key, ...): the track's allowed_signers."""

    def write_signers(**keys: Path) -> Path:
        lines = [f"{name} {key.with_suffix('.pub').read_text()}" for name, key in keys.items()]
        (contest / layout.SIGNERS_FILE).write_text("".join(lines))
        return contest / layout.SIGNERS_FILE

    return write_signers


@pytest.fixture
def make_record(contest: Path) -> Callable[..., Path]:
    """make_record(bundle, title, key=None, day=..., **claims): a bundle submitted to the tiny track."""

    def make(bundle: Path, title: str, key: Path | None = None, day: date = date(2026, 1, 3), **claims: Any) -> Path:
        drafted = draft(bundle, Claims(title=title, authors=("Ada",), date=day, **claims), key)
        write(drafted, key)
        return drafted.folder

    return make

"""Ordinary users: everything a referee does works without root's powers, and its limits bind there too."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Any

import pytest

from harness.sandbox import software
from harness.sandbox.levels import LEVELS

ROOT = Path(__file__).resolve().parents[3]
NOBODY = 65534
ASK = """
import resource
print("LIMITS", os.getuid(), *resource.getrlimit(resource.RLIMIT_NPROC), flush=True)
"""
BOMB = """
for _ in range(1000):
    if os.fork() == 0:
        time.sleep(600)
time.sleep(600)
"""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody without powers: a home with data, and a way to run commands there."""

    home: Path

    def run(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        names = {"TMPDIR": "tmp", "SPEEDRUN_LOCKS": "tmp", "SPEEDRUN_DATA": "data", "SPEEDRUN_RUNS": "runs"}
        environment = {name: str(self.home / folder) for name, folder in names.items()} | {"PATH": os.environ["PATH"]}
        environment["SPEEDRUN_COPIES"] = "/proc"  # nowhere: they would take this user a minute and gigabytes each time
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *map(str, argv)]
        script = "\n".join(["set -e", *self._opened(), f"exec {join(command)}"])
        shell = ["sh", "-c", script] if not self._shut() else ["unshare", "--mount", "sh", "-c", script]
        return subprocess.run(shell, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)

    def _shut(self) -> list[Path]:
        """Folders that only root may enter, on the way to Python, its packages and the checkout."""
        found = {next((p for p in reversed([need, *need.parents]) if not p.stat().st_mode & 1), None) for need in NEEDS}
        return [path for path in found if path is not None]

    def _opened(self) -> Iterator[str]:
        """Commands that make the same paths readable, in a mount namespace of their own: /root/.pyenv, say."""
        kept = [need for need in NEEDS if any(need.is_relative_to(shut) for shut in self._shut())]
        stashes = {need: str(self.home / f"stash{number}") for number, need in enumerate(kept)}
        for need, stash in stashes.items():
            yield join(["mkdir", "-p", stash]) + "\n" + join(["mount", "--bind", str(need), stash])
        for shut in self._shut():
            yield join(["mount", "-t", "tmpfs", "-o", "mode=755", "none", str(shut)])
        for need, stash in stashes.items():
            yield join(["mkdir", "-p", str(need)]) + "\n" + join(["mount", "--bind", stash, str(need)])

    def outcome(self) -> tuple[dict[str, Any], str]:
        """The record of the only run, and its log."""
        (folder,) = (self.home / "runs").iterdir()
        return json.loads((folder / "run.json").read_bytes()), (folder / "log.txt").read_text(errors="replace")

    def leftovers(self) -> list[str]:
        tmp, data = self.home / "tmp", self.home / "data"
        return [path.name for folder in (tmp, data) for path in folder.glob("speedrun-*") if path.is_dir()]


NEEDS = sorted({ROOT, *(path.resolve() for path in software.prefixes(None))})


@pytest.fixture
def user(data_root: Path) -> Iterator[User]:
    if os.geteuid() != 0:
        pytest.skip("this is an ordinary user already: every test is this test")
    if shutil.which("setpriv") is None or shutil.which("unshare") is None:
        pytest.skip("needs setpriv and unshare (util-linux) to become another user")
    with tempfile.TemporaryDirectory(prefix="user-", dir="/tmp") as home:  # where everybody may go
        user = User(Path(home))
        for name in ("tmp", "data", "runs"):
            (user.home / name).mkdir()
        shutil.copytree(data_root / "embedded-tiny", user.home / "data" / "embedded-tiny")
        for path in (user.home, *user.home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        able = user.run(sys.executable, "-c", "import torch, os; print(os.getuid())")
        if able.stdout.strip() != str(NOBODY):
            pytest.skip(f"Python cannot be run by another user here: {able.stderr.strip()[-200:]}")
        yield user


def referee(user: User, script: Path, track: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(script, user.home)
    shutil.copy(track, user.home)
    command = [sys.executable, "-m", "harness", "run", user.home / script.name, "--nproc", "1"]
    return user.run(*command, "--track", user.home / track.name, *arguments)


def test_a_run_of_an_ordinary_user(
    user: User, tmp_path: Path, write_submission: Callable[..., Path], write_track: Callable[..., Path]
) -> None:
    done = referee(user, write_submission(tmp_path, prepare=ASK), write_track(tmp_path))
    record, log = user.outcome()
    assert (done.returncode, record["status"]) == (0, "complete"), record["sentence"] + done.stderr[-500:] + log[-500:]
    assert record["data_at_go"] == "hard links"
    uid, soft, hard = log.partition("LIMITS")[2].split()[:3]
    assert int(uid) == NOBODY
    assert soft == hard
    assert 1000 < int(hard) < 10_000  # it would be -1 for root, whom it does not bind
    assert user.leftovers() == []


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_the_fork_bomb_of_an_ordinary_user(
    user: User, tmp_path: Path, write_submission: Callable[..., Path], write_track: Callable[..., Path], level: str
) -> None:
    """The kernel refuses a fork before the referee has looked; still the limit is what is named."""
    track = write_track(tmp_path, processes=100)
    done = referee(user, write_submission(tmp_path, prepare=BOMB), track, "--require-sandbox", level)
    record, log = user.outcome()
    if record["status"] == "sandbox_failed":
        pytest.skip(record["sentence"])
    assert (done.returncode, record["status"]) == (4, "process_limit"), record["sentence"] + log[-500:]
    assert user.leftovers() == []

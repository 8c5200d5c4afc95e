"""Imported records to be run again: what would be installed, what is gone, and one small one from log to verdict.

Expectations are written from what the logs of the public archive say and from torch's releases, not from the code.
MODDED_NANOGPT=PATH (a work tree or bare repository) also takes the sources out of the real logs.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from data import datasets
from harness.errors import UserError
from harness.formats import layout
from harness.formats.track import load_track
from harness.records.wheel_locks import lock_path
from leaderboard.board.record_names import find_record
from leaderboard.cli import replays
from leaderboard.cli import reproduce as reproducing
from leaderboard.upstream.embedded import digest
from leaderboard.upstream.history import (
    Claim,
    EmbeddedScript,
    History,
    ImportedRecord,
    ImportedRow,
    ImportedRun,
    Link,
    Machine,
    Source,
    write_history,
)
from leaderboard.upstream.recover import RecoveredRun, recover_run, write_source
from leaderboard.upstream.releases import RELEASES, nearest_torch

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "tests" / "tracks" / "tiny" / "track.toml"
H100 = "8x NVIDIA H100 80GB HBM3"

# record: what pip would be asked for, the Python of the log, part of a difference, part of what is missing
GOLDEN = {
    "gpt2-small-8xh100/1": (None, "", "", "an environment: its log names no torch"),
    "gpt2-small-8xh100/4": ("torch==2.4.1", "", "the log names no Python", H100),
    "gpt2-small-8xh100/7": ("torch==2.5.0", "", "the log names no Python", H100),
    "gpt2-small-8xh100/12": ("torch==2.6.0", "", "2024-11-19 is deleted; torch 2.6.0 of 2025-01-29 is 71 days", H100),
    "gpt2-small-8xh100/18": ("torch==2.6.0+cu126", "3.12.7", "nightly of 2024-12-31 is deleted", H100),
    "gpt2-small-8xh100/24": ("torch==2.7.0+cu128", "3.12.3", "NVIDIA's container 25.04, which is no package", H100),
    "gpt2-small-8xh100/28": ("torch==2.9.0+cu126", "3.10.12", "Triton 3.5.0, the log names 3.4.0", H100),
    "gpt2-small-8xh100/47": ("torch==2.10.0+cu126", "3.10.12", "nightly of 2025-12-04 is deleted", H100),
    "gpt2-small-8xh100/69": ("torch==2.10.0", "3.12.7", "", H100),
    "gpt2-small-8xh100/82": ("torch==2.10.0", "3.11.15", "", "8x NVIDIA H200"),
    "gpt2-small-8xh100/86": (None, "", "", "a log: none was committed"),
    "gpt2-medium-8xh100/1": (None, "", "", "an environment: its log names no torch"),
}  # fmt: skip


def of(name: str, checkout: Path | None = None) -> RecoveredRun:
    row = find_record(name)
    assert isinstance(row, ImportedRow)
    return recover_run(row, load_track(row.track), checkout, (), Path("/nowhere"))


@pytest.mark.parametrize("name", GOLDEN)
def test_each_era_names_what_it_would_install_and_what_is_gone(name: str) -> None:
    package, python, difference, missing = GOLDEN[name]
    found = of(name)
    assert (found.packages[0] if found.packages else None, found.python) == (package, python)
    assert difference in "; ".join(found.differences)
    if not difference:
        assert found.differences == ()
    assert any(sentence.startswith(missing) for sentence in found.missing), found.missing
    if package is not None:
        assert any("shards of fineweb10B" in sentence for sentence in found.missing)
        assert any("a checkout of its repository" in sentence for sentence in found.missing)


def test_a_dry_run_prints_it_for_people_and_machines(tmp_path: Path, meets_schema: Callable[[str, Any], None]) -> None:
    environment = os.environ | {"SPEEDRUN_DATA": str(tmp_path), "SPEEDRUN_RUNS": str(tmp_path / "runs")}
    environment.pop("MODDED_NANOGPT", None)
    environment["COLUMNS"] = "200"
    argv = [sys.executable, "-m", "harness", "reproduce", "gpt2-small-8xh100/12"]
    done = subprocess.run([*argv, "--dry-run", "--json"], cwd=ROOT, env=environment, capture_output=True, text=True)
    plan = json.loads(done.stdout)
    meets_schema("reproduction-plan-output", plan)
    assert (done.returncode, plan["torch"]["install"], plan["torch"]["cuda"]) == (0, "2.6.0", "12.4")
    assert (plan["torch"]["exact"], plan["torch"]["triton"], plan["tier"]) == (False, "3.2.0", "reported")
    assert (plan["installs"], plan["left_out"]) == ([], plan["packages"])
    assert "expected wheels by hash for torch 2.6.0" in plan["differences"][-1]
    refused = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.count("\n"), refused.stdout) == (2, 1, "")
    assert "for want of a checkout of its repository" in refused.stderr
    log = tmp_path / "theirs" / plan["log"]
    log.parent.mkdir(parents=True)
    log.write_bytes(SCRIPT + b"=" * 100 + b"\nstep:10/10 val_loss:3.0000 train_time:40ms step_avg:4.00ms\n")
    argv += ["--checkout", str(tmp_path / "theirs")]
    refused = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.count("\n")) == (5, 1)
    assert "3 things missing" in refused.stderr  # it is not the log's own source, and GPUs and shards are not here
    assert H100 in refused.stdout
    assert re.search(r"^  install +2\.6\.0$", refused.stdout, re.M)  # part by part, and no Python
    assert not set("{}[]") & set(refused.stdout)
    assert not (tmp_path / "runs").exists()  # nothing was started


# ---------------------------------------------------------------------------------------------------- releases


def test_the_table_of_releases_is_in_order_and_whole() -> None:
    assert [release.day for release in RELEASES] == sorted(release.day for release in RELEASES)
    for release in RELEASES:
        assert release.plain in release.cudas
        assert release.pythons[0] < release.pythons[1]


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.version)
def test_a_release_is_its_own_nearest(release: Any) -> None:
    found = nearest_torch(f"{release.version}+cu{release.plain.replace('.', '')}", release.plain, release.triton)
    assert (found.release, found.is_exact, found.differences) == (release, True, ())
    assert found.requirement == f"torch=={release.version}"


@pytest.mark.parametrize("version", ["", "2.99.0", "1.0", "2.6.0.dev20241399", "abc", "2.6.0 ; rm -rf", "\u0662.6.0"])
def test_what_comes_near_nothing_is_said_so(version: str) -> None:
    found = nearest_torch(version, "12.4", "")
    assert not found.is_exact
    assert found.differences
    assert found.requirement in ("", "torch==2.6.0")


@given(st.text(max_size=40), st.text(max_size=12), st.text(max_size=12))
def test_no_text_breaks_the_table(version: str, cuda: str, triton: str) -> None:
    found = nearest_torch(version, cuda, triton)
    assert found.release is None or found.requirement.startswith("torch==2.")


# ------------------------------------------------------------------------------------------------ real sources


@pytest.fixture(scope="module")
def archive() -> Path:
    named = os.environ.get("MODDED_NANOGPT")
    if not named:
        pytest.skip("needs a checkout of modded-nanogpt, which MODDED_NANOGPT names")
    return Path(named)


@pytest.mark.parametrize(
    ("name", "files", "attention"),
    [
        ("gpt2-small-8xh100/4", ["train_gpt.py"], None),
        ("gpt2-small-8xh100/12", ["train_gpt.py"], None),
        ("gpt2-small-8xh100/21", ["train_gpt.py"], None),
        ("gpt2-small-8xh100/31", ["train_gpt.py"], "flash_attn_interface"),
        ("gpt2-small-8xh100/47", ["train_gpt.py"], "kernels hub"),
        ("gpt2-small-8xh100/85", ["dc_triton_kernels.py", "train_gpt.py", "triton_kernels.py"], "kernels hub"),
        ("gpt2-small-8xh100/89", ["train_gpt.py", "triton_kernels.py"], "kernels hub"),
    ],
)
def test_sources_come_out_of_the_real_logs(archive: Path, name: str, files: list[str], attention: str | None) -> None:
    found = of(name, archive)
    assert sorted(found.files) == files
    assert b"torch" in found.files["train_gpt.py"]
    assert not any(sentence.startswith("the same source") for sentence in found.missing)
    told = [sentence for sentence in found.missing if "FlashAttention" in sentence]
    assert [attention in sentence for sentence in told if attention] == [True] * (attention is not None)
    assert bool(told) == (attention is not None)


# -------------------------------------------------------------------------------------- a small one, all the way

SCRIPT = b"""import os
for step, loss, ms in ((0, 9.0, 0), (10, LOSS, 40)):
    if os.environ.get("RANK") == "0":
        print(f"step:{step}/10 val_loss:{loss:.4f} train_time:{ms}ms step_avg:4.00ms", flush=True)
"""


def a_history(root: Path, script: bytes) -> Path:
    """records/tiny with a history of one record, and a folder with its log. Returns the folder."""
    track, checkout = root / "records" / "tiny", root / "checkout"
    (checkout / "logs").mkdir(parents=True)
    track.mkdir(parents=True)
    (track / layout.TRACK_FILE).write_bytes(TINY.read_bytes())
    rule = b"=" * 100 + b"\n"
    line = b"step:10/10 val_loss:3.0000 train_time:40ms step_avg:4.00ms\n"
    torch = b"Running PyTorch 2.9.0 compiled for CUDA 12.8\n"
    (checkout / "logs" / "a.txt").write_bytes(script + rule + torch + rule + line)
    runs = [
        ImportedRun(0, f"{name}.txt", 0, loss, 40, 10, 10, 1, 0, 0, None)
        for name, loss in (("a", 3.0), ("b", 3.0001), ("c", 2.9999))
    ]
    history = History(
        track="tiny",
        source=Source(repository="https://example.org/theirs", commit=""),
        folders=("logs",),
        machines=(Machine("", None, "2.9.0", "12.8", "", "", ""),),
        scripts=(EmbeddedScript(digest(script), None),),
        runs=tuple(runs),
        records=(
            ImportedRecord(
                number=1, official=True, date=date(2026, 1, 1), title="small", authors=("ada",),
                claim=Claim(train_time_s=0.04), group="folder", runs=(0, 1, 2), link=Link("logs/a.txt", True, (0,)),
            ),
        ),
    )  # fmt: skip
    write_history(track / layout.HISTORY_FILE, history)
    return checkout


def replayed(speedrun: Any, root: Path, checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "harness", "reproduce", "tiny/1", "--checkout", checkout, "--here", "--json", *words]
    process = speedrun.start(*argv, SPEEDRUN_RECORDS=str(root / "records"))
    stdout, stderr = process.communicate(timeout=600)
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


@pytest.mark.parametrize(
    ("loss", "verdict", "code"),
    [
        pytest.param("3.0 + os.getpid() % 7 / 1e5", "reproduced", 0, marks=pytest.mark.slow),
        ("3.5 + os.getpid() % 7 / 1e5", "not reproduced", 1),
    ],
)
def test_an_imported_record_is_run_from_its_log(
    speedrun: Any, tmp_path: Path, loss: str, verdict: str, code: int, meets_schema: Callable[[str, Any], None]
) -> None:
    checkout = a_history(tmp_path, SCRIPT.replace(b"LOSS", loss.encode()))
    done = replayed(speedrun, tmp_path, checkout, "--runs", "2", "--anyway")
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    meets_schema("replay-output", found)
    assert (len(found["runs"]), len(found["losses"]), found["tier"]) == (2, 2, "reported")
    assert found["time_ratio"] == 1.0
    if len(set(found["losses"])) == 1:
        assert found["verdict"] == "undecided"  # two equal losses have no spread to test with
    else:
        assert found["verdict"] in (verdict, "undecided")
        assert done.returncode == (code if found["verdict"] == verdict else 1)


def test_nothing_without_a_hash_is_installed_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = a_history(tmp_path, SCRIPT)
    monkeypatch.setenv("SPEEDRUN_RECORDS", str(tmp_path / "records"))
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(replays, "find_python", lambda version: Path(sys.executable))
    monkeypatch.setattr(replays, "build", lambda parent, python, lines: asked.append(tuple(lines)) or 1 / 0)
    argv = ["tiny/1", "--checkout", str(checkout), "--yes", "--anyway", "--out", str(tmp_path / "runs")]
    app = typer.Typer()
    app.command()(reproducing.reproduce)
    done = CliRunner().invoke(app, argv)
    assert isinstance(done.exception, UserError), done.output
    assert "expected wheels by hash for torch 2.9.0" in str(done.exception)
    lock = lock_path(tmp_path / "records" / "tiny", "2.9.0")
    lock.parent.mkdir()
    known = f"torch==2.9.0 --hash=sha256:{'0' * 64}"
    lock.write_text(known + "\n")
    done = CliRunner().invoke(app, argv)
    assert isinstance(done.exception, ZeroDivisionError), done.output
    assert asked == [(known,)]


def test_a_changed_log_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = a_history(tmp_path, SCRIPT)
    monkeypatch.setenv("SPEEDRUN_RECORDS", str(tmp_path / "records"))
    log = checkout / "logs" / "a.txt"
    log.write_bytes(b"import sys\n" + log.read_bytes())
    row = find_record("tiny/1")
    assert isinstance(row, ImportedRow)
    found = recover_run(row, load_track("tiny"), checkout, (), datasets.data_root())
    assert any(sentence.startswith("the same source") for sentence in found.missing)
    log.unlink()
    found = recover_run(row, load_track("tiny"), checkout, (), datasets.data_root())
    assert any("which this checkout does not have" in sentence for sentence in found.missing)
    with pytest.raises(UserError, match=r"for want of the log logs/a\.txt, which this checkout does not have"):
        write_source(found, tmp_path)

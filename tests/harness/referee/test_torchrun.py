"""Started by torchrun, as a legacy script would be."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
TRACK = ROOT / "tests" / "tracks" / "tiny" / "track.toml"
WAYS = (("-m", "harness"), ("harness",))
SHOW = """
import os, torch.distributed as dist
from bigram import *
from bigram import train as count
def train(run):
    dist.init_process_group("gloo")  # the rendezvous is that of the inner torchrun
    print(f"rank {run.rank} of {dist.get_world_size()}", *(f"<{k}={v}>" for k, v in os.environ.items()), flush=True)
    count(run)
"""


def begin(speedrun: Any, way: tuple[str, ...], script: Path) -> Any:
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *way, "run", script]
    return speedrun.start(*argv, "--track", TRACK, LEAK="leaked", OMP_NUM_THREADS="7")


def torchrun(speedrun: Any, way: tuple[str, ...], script: Path) -> Any:
    return speedrun.end(begin(speedrun, way, script))


@pytest.mark.parametrize(
    "way", [pytest.param(WAYS[0], id="module", marks=pytest.mark.slow), pytest.param(WAYS[1], id="folder")]
)
def test_local_rank_0_becomes_the_referee_of_as_many_ranks(speedrun: Any, tmp_path: Path, way: tuple[str, ...]) -> None:
    (tmp_path / "bigram.py").write_bytes((ROOT / "tests" / "submissions" / "bigram.py").read_bytes())
    (tmp_path / "train_gpt.py").write_text(SHOW)
    outcome = torchrun(speedrun, way, tmp_path)
    assert outcome.code == 0, outcome.stderr
    assert len(outcome.folders) == 1  # not one per rank
    assert (outcome.record["status"], outcome.record["world_size"]) == ("complete", 2)
    for rank in range(2):
        assert f"rank {rank} of 2" in outcome.log
    assert "<LEAK=" not in outcome.log
    assert "<OMP_NUM_THREADS=1>" in outcome.log
    error_files = [v for v in outcome.log.replace("<", "\n").splitlines() if v.startswith("TORCHELASTIC_ERROR_FILE=")]
    assert len(error_files) == 2
    outer = str(speedrun.temporary)  # its own torchrun keeps them below TMPDIR, which is /tmp where it is ours alone
    assert all("speedrun-" in value or not value.partition("=")[2].startswith(outer) for value in error_files)
    assert speedrun.leftovers() == []


@pytest.mark.slow
def test_a_failing_submission_makes_torchrun_fail(speedrun: Any, tmp_path: Path, write_submission: Any) -> None:
    outcome = torchrun(speedrun, WAYS[0], write_submission(tmp_path, prepare="1 / 0"))
    assert outcome.code != 0
    assert outcome.record["status"] == "prepare_failed"
    assert "prepare_failed: rank" in outcome.stdout
    assert speedrun.leftovers() == []


KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "number"),
    [
        pytest.param(part, number, marks=[] if part == "prepare" or turn == 0 else pytest.mark.exhaustive)
        for part in ("prepare", "train", "logits")
        for turn, number in enumerate(KILLS)
    ],
)
def test_whatever_kills_torchrun_ends_the_run(
    speedrun: Any,
    tmp_path: Path,
    write_submission: Any,
    until: Callable[..., Any],
    part: str,
    number: signal.Signals,
) -> None:
    """A batch system kills the launcher; nobody is left who holds the machine, and the record says what happened."""
    script = write_submission(tmp_path, **{part: "print('now waiting', flush=True)\ntime.sleep(600)"})
    launcher = begin(speedrun, WAYS[1], script)
    speedrun.wait_for("now waiting")
    launcher.send_signal(number)
    outcome = speedrun.end(launcher)
    until(lambda: not speedrun.processes(), "the end of every process", saw=speedrun.logs)
    assert outcome.record["status"] == "terminated", outcome.record["sentence"]
    assert outcome.record["finished_at"]
    assert speedrun.leftovers() == []

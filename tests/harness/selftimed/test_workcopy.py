"""Working copies of checkouts: what links lead to, what belongs to it, and what is never shown."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.selftimed.workcopy import find_checkout, linked_outside, take_working_copy

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "data").mkdir(parents=True)
    (folder / "train.py").write_text("pass\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "shard.bin").write_bytes(b"far away")
    return folder


def copied(checkout: Path, tmp_path: Path) -> Path:
    work = tmp_path / "scratch" / "work"
    work.mkdir(parents=True)
    take_working_copy(find_checkout(checkout / "train.py", checkout), work, tmp_path / "no-data")
    return work


@pytest.mark.parametrize("target", ["{tmp}/elsewhere", "../../elsewhere"])
def test_data_behind_a_link_belongs_to_the_checkout(checkout: Path, tmp_path: Path, target: str) -> None:
    (checkout / "data" / "fineweb").symlink_to(target.format(tmp=tmp_path))
    assert linked_outside(checkout) == (tmp_path / "elsewhere",)
    assert (copied(checkout, tmp_path) / "data" / "fineweb" / "shard.bin").read_bytes() == b"far away"


def test_the_folder_of_data_itself_may_be_a_link(checkout: Path, tmp_path: Path) -> None:
    (checkout / "data").rmdir()
    (checkout / "data").symlink_to("../elsewhere")
    assert linked_outside(checkout) == (tmp_path / "elsewhere",)
    assert (copied(checkout, tmp_path) / "data" / "shard.bin").read_bytes() == b"far away"


def test_links_inside_stay_what_they_are_and_nothing_around_the_checkout_is_opened(
    checkout: Path, tmp_path: Path
) -> None:
    (checkout / "same.py").symlink_to("train.py")
    (checkout / "everything").symlink_to("/")
    (checkout / "above").symlink_to(tmp_path)
    (checkout / "broken").symlink_to("nowhere")
    (checkout / "round").symlink_to("round")
    assert linked_outside(checkout) == ()
    assert (copied(checkout, tmp_path) / "same.py").readlink() == Path("train.py")


READS = """
import os, sys
print("read", open(sys.argv[1] if len(sys.argv) > 1 else "data/shard.bin").read())
"""


@pytest.mark.parametrize("way", ["link", "option"])
def test_a_script_reads_what_lies_outside(checkout: Path, tmp_path: Path, speedrun: Any, way: str) -> None:
    """By a link of its checkout, or by a path and --readable; without either it is not there."""
    (checkout / "train.py").write_text(READS)
    argv: list[Any] = [
        sys.executable,
        "-m",
        "harness",
        "run",
        "--legacy",
        checkout / "train.py",
        "--checkout",
        checkout,
    ]
    if way == "link":
        (checkout / "data").rmdir()
        (checkout / "data").symlink_to("../elsewhere")
        done = speedrun.end(speedrun.start(*argv))
    else:
        path = tmp_path / "elsewhere"
        done = speedrun.end(speedrun.start(*argv, "--readable", path, "--", path / "shard.bin"))
    (folder,) = speedrun.runs.iterdir()
    assert "read far away" in (folder / "log.txt").read_text(), done.stdout + done.stderr


LOADER = """
import torch
class Numbers(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, i): return torch.tensor(i)
if __name__ == "__main__":
    print("sum", sum(int(x) for x in torch.utils.data.DataLoader(Numbers(), num_workers=2)))
"""


@pytest.mark.slow
def test_dataloader_workers_below_a_long_tmpdir(checkout: Path, speedrun: Any) -> None:
    """Their sockets have 107 bytes; where the sandbox has folders of its own, TMPDIR is short inside."""
    from harness.sandbox.levels import available_levels

    if "namespaces" not in available_levels():
        pytest.skip("no namespaces on this machine")
    (checkout / "train.py").write_text(LOADER)
    speedrun.temporary = speedrun.temporary / ("long" * 15)
    speedrun.temporary.mkdir()
    argv = [sys.executable, "-m", "harness", "run", "--legacy", checkout / "train.py", "--budget-s", "300"]
    done = speedrun.end(speedrun.start(*argv))
    (folder,) = speedrun.runs.iterdir()
    assert "sum 28" in (folder / "log.txt").read_text(), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("level", ["landlock", pytest.param("process", marks=pytest.mark.exhaustive)])
def test_a_host_name_that_does_not_resolve(speedrun: Any, level: str) -> None:
    from harness.sandbox.levels import available_levels

    if level not in available_levels():
        pytest.skip(f"no {level} on this machine")
    if subprocess.run(["unshare", "-r", "--uts", "true"], capture_output=True).returncode:
        pytest.skip("no UTS namespaces for this user")
    run = f"{sys.executable} -m harness run tests/submissions/bigram.py --track tests/tracks/tiny --nproc 2"
    command = f"hostname name-of.nobody.invalid && exec {run} --require-sandbox {level}"
    outcome = speedrun.end(speedrun.start("unshare", "-r", "--uts", "bash", "-c", command))
    assert outcome.record["status"] == "complete", outcome.record["sentence"] + outcome.log[-2000:]

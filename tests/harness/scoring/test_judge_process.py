"""The judge's process: what it needs is in memory once it is ready, and it takes one order after another."""

import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.shards import write_shard
from harness.errors import RunFailure
from harness.formats import layout
from harness.sandbox.inside import Channel
from harness.scoring import judge_process
from harness.scoring.judge_process import JudgeProcess, started_judge
from tests.harness.scoring.exams import a_buffer, answer, listed

WISH = {"eval_tokens": 16, "eval_batch": 4}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of our packages, from which the judge is started."""
    folder = tmp_path / "installed"
    for package in ("data", "harness"):
        shutil.copytree(layout.ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(layout, "ROOT", folder)
    return folder


def reports(judge: JudgeProcess) -> Iterator[dict[str, Any]]:
    """What it says; whose turn it is, is granted: evaluators here are threads, and both run."""
    assert judge.process.stdout is not None
    for line in judge.process.stdout:
        message = json.loads(line)
        if message["kind"] == "turn":
            judge.control.send(b"1")
        yield message


def exam(judge: JudgeProcess, val: Path, **changes: Any) -> dict[str, Any]:
    """What it says last of two evaluators that answer honestly: all words are as likely, of 32."""
    pairs, buffer = [socket.socketpair() for _ in range(2)], a_buffer(nothing=torch.zeros(1))

    def evaluate(sock: socket.socket) -> None:
        with sock:
            answer(Channel(sock), WISH, lambda tokens: torch.zeros(*tokens.shape, 32))

    threads = [threading.Thread(target=evaluate, args=(theirs,)) for _, theirs in pairs]
    for thread in threads:
        thread.start()
    ours = [sock.fileno() for sock, _ in pairs]
    order = {
        "val_path": str(val), "val_tokens": 512, "vocab_size": 32, "max_tokens": 64, "max_batch_tokens": 256,
        "probe_pairs": 4, "shadow_tokens": 0, "shadow_source": "fresh", "threads": 1, "pairs": [ours],
        "weights": listed(buffer), "reserved": [],
    }  # fmt: skip
    judge.order(order | changes, [*ours, buffer.fd])
    for sock, _ in pairs:
        sock.close()
    buffer.close()
    last = next(told for told in reports(judge) if told["kind"] in ("score", "failed"))
    for thread in threads:
        thread.join()
    return last


def test_nothing_is_read_after_it_is_ready(tmp_path: Path, installed: Path) -> None:
    """Its files are gone by then; and it keeps nothing of one exam in the next."""
    write_shard(tmp_path / "val.bin", np.arange(600) % 32)
    with started_judge(tmp_path) as judge:
        judge.wait_until_ready()
        shutil.rmtree(installed)
        (tmp_path / "torch.py").write_text("raise SystemExit('a torch of somebody else')")
        descriptors = []
        for _ in range(2):
            told = exam(judge, tmp_path / "val.bin")
            assert told["kind"] == "score", told
            assert told["score"]["val_loss"] == pytest.approx(np.log(32))
            descriptors.append(len(os.listdir(f"/proc/{judge.process.pid}/fd")))
        assert descriptors[0] == descriptors[1]
        told = exam(judge, tmp_path / "val.bin", val_sha256="0" * 64)
        assert (told["kind"], told["status"]) == ("failed", "data_invalid")
        pid = judge.process.pid
    assert not os.path.exists(f"/proc/{pid}")


def test_a_judge_that_cannot_start_is_told_in_a_sentence(tmp_path: Path, installed: Path) -> None:
    (installed / "harness" / "scoring" / "losses.py").write_text("raise RuntimeError('no such luck')")
    with (
        started_judge(tmp_path) as judge,
        pytest.raises(RunFailure, match=r"before it was ready: .*no such luck") as told,
    ):
        judge.wait_until_ready()
    assert told.value.status == "judge_failed"


def test_more_descriptors_than_a_message_carries_are_refused(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(RunFailure, match="expected at most 253 descriptors, found 300"):
        JudgeProcess(None, ours).order({}, range(300))  # type: ignore[arg-type]
    assert judge_process.MAX_FDS == 253

"""The judge: every target once, the right loss, and nothing an evaluator can do to it."""

import json
import mmap
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.shards import read_shard, write_shard
from harness.inside import HEADER, Channel
from harness.judge import EvaluationError, Judge, Task

ROOT = Path(__file__).resolve().parent.parent.parent
BIGRAM = ROOT / "tests" / "submissions" / "bigram.py"
Logits = Callable[[torch.Tensor], torch.Tensor]


def answer(channel: Channel, wish: dict[str, Any], logits_of: Logits) -> None:
    """An honest evaluator as a thread."""
    channel.send({"kind": "ready"} | wish)
    ring, _, (fd,) = channel.receive()
    memory = mmap.mmap(fd, ring["slots"] * ring["slot_bytes"])
    os.close(fd)
    with suppress(EOFError, ConnectionError):
        while True:
            request, payload, _ = channel.receive()
            tokens = torch.frombuffer(bytearray(payload), dtype=torch.uint16).long()
            logits = logits_of(tokens.reshape(ring["batch"], ring["tokens"])).contiguous()
            start, content = request["slot"] * ring["slot_bytes"], logits.view(torch.uint8).numpy().tobytes()
            memory[start : start + len(content)] = content
            channel.send({"kind": "logits", "slot": request["slot"], "dtype": str(logits.dtype)[6:]})


@contextmanager
def an_exam(
    folder: Path, stream: npt.ArrayLike, evaluators: list[Callable[[Channel], None]], **order: int
) -> Iterator[Judge]:
    """A judge whose evaluators are two functions in threads of this process."""
    write_shard(folder / "val.bin", stream)
    pairs = [socket.socketpair() for _ in evaluators]

    def work(evaluator: Callable[[Channel], None], sock: socket.socket) -> None:
        with sock:
            evaluator(Channel(sock))

    threads = [
        threading.Thread(target=work, args=(e, theirs)) for e, (_, theirs) in zip(evaluators, pairs, strict=True)
    ]
    limits = {"max_tokens": 64, "max_batch_tokens": 256, "probe_pairs": 4} | order
    judge = Judge({"val_path": str(folder / "val.bin"), "sockets": [ours.detach() for ours, _ in pairs]} | limits)
    for thread in threads:
        thread.start()
    try:
        yield judge
    finally:
        for evaluator in judge.evaluators:
            evaluator.channel.sock.shutdown(socket.SHUT_RDWR)
            evaluator.channel.sock.close()
        for thread in threads:
            thread.join()


def losses_of(table: torch.Tensor, stream: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Nats of every target of the stream under a table [token, next token], in float64, the long way round."""
    logits = table.double().numpy()[stream[:-1]]
    shifted = logits - logits.max(-1, keepdims=True)
    chosen = np.take_along_axis(shifted, stream[1:, None].astype(np.int64), -1)[:, 0]
    losses: npt.NDArray[Any] = np.log(np.exp(shifted).sum(-1)) - chosen
    return losses


def in_windows(values: npt.NDArray[Any], tokens: int) -> list[npt.NDArray[Any]]:
    return [values[start : start + tokens] for start in range(0, len(values), tokens)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 300), surplus=st.integers(0, 5), wish=st.tuples(st.integers(1, 80), st.integers(1, 9)),
    probe_pairs=st.integers(0, 6), dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_every_target_is_counted_once_in_its_window(
    tmp_path: Path, count: int, surplus: int, wish: tuple[int, int], probe_pairs: int, dtype: torch.dtype, seed: int
) -> None:
    vocab = 11
    stream = np.random.default_rng(seed).integers(0, vocab, count + 1 + surplus)
    table = torch.randn(vocab, vocab, generator=torch.Generator().manual_seed(seed)).mul(3).to(dtype)
    evaluators = [
        lambda c: answer(c, {"eval_tokens": wish[0], "eval_batch": wish[1]}, lambda tokens: table[tokens])
    ] * 2
    exam = an_exam(tmp_path, stream, evaluators, vocab_size=vocab, val_tokens=count, probe_pairs=probe_pairs)
    with exam as judge:
        score = judge.score()
    tokens = min(wish[0], 64, count)
    expected = in_windows(losses_of(table, stream[: count + 1]), tokens)
    assert score["count"] == count
    assert score["windows"]["tokens"] == tokens
    assert score["windows"]["counts"] == [len(window) for window in expected]
    np.testing.assert_allclose(score["windows"]["loss_sums"], [w.sum() for w in expected], rtol=1e-5, atol=1e-5)
    assert score["val_loss"] == pytest.approx(np.concatenate(expected).mean(), abs=1e-5)
    assert score["loss_sum"] == pytest.approx(sum(score["windows"]["loss_sums"]))
    assert score["probes"] == {
        "pairs": min(probe_pairs, len(expected)), "max_abs_difference": 0.0, "mean_abs_difference": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize("count", [40, 400], ids=["one window", "many windows"])
def test_a_model_that_looks_ahead_contradicts_itself(tmp_path: Path, count: int) -> None:
    stream = np.arange(count + 1) % 31

    def peek(tokens: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(tokens.roll(-1, dims=1), 31).float() * 20

    evaluators = [lambda c: answer(c, {"eval_tokens": 40, "eval_batch": 3}, peek)] * 2
    with an_exam(tmp_path, stream, evaluators, vocab_size=31, val_tokens=count) as judge:
        score = judge.score()
    assert score["val_loss"] < 1  # it pays: one target in each window is out of its sight
    assert score["probes"]["max_abs_difference"] > 10


def test_a_model_that_remembers_what_it_has_seen_contradicts_its_twin(tmp_path: Path) -> None:
    """Hidden state: an evaluator that answers otherwise the second time."""

    def forgetful() -> Callable[[Channel], None]:
        calls = iter(range(10**6))
        return lambda c: answer(
            c, {"eval_tokens": 8, "eval_batch": 1}, lambda t: torch.nn.functional.one_hot(t, 5) * float(next(calls))
        )

    stream = np.random.default_rng(0).integers(0, 5, 401)
    exam = an_exam(tmp_path, stream, [forgetful(), forgetful()], vocab_size=5, val_tokens=400, probe_pairs=20)
    with exam as judge:
        assert judge.score()["probes"]["max_abs_difference"] > 0.05


READY = {"kind": "ready", "eval_tokens": 8, "eval_batch": 2}
DEEP = b"[" * 100_000 + b"]" * 100_000


def says(*messages: dict[str, Any] | bytes) -> Callable[[Channel], None]:
    """An evaluator that only talks: frames sent as they are, whatever is asked; then silence until the end."""

    def evaluator(channel: Channel) -> None:
        with suppress(OSError, EOFError):
            for message in messages:
                if isinstance(message, bytes):
                    channel.sock.sendall(message)
                else:
                    channel.send(message)
            while channel.sock.recv(2**16):
                pass

    return evaluator


def leaves(channel: Channel) -> None:
    """An evaluator that is gone at once."""


HOSTILE = {
    "gone": (leaves, "evaluator_failed"),
    "garbage": (says(b"\xff" * 64), "evaluator_failed"),
    "no JSON": (says(HEADER.pack(4, 0) + b"nope"), "evaluator_failed"),
    "no object": (says(HEADER.pack(4, 0) + b"[[]]"), "evaluator_failed"),
    "no UTF-8": (says(HEADER.pack(4, 0) + b"\"\xff\xfe\""), "evaluator_failed"),
    "too deep": (says(HEADER.pack(len(DEEP), 0) + DEEP), "evaluator_failed"),
    "too long": (says(HEADER.pack(2**31, 0)), "evaluator_failed"),
    "too long a payload": (says(HEADER.pack(2, 2**31)), "evaluator_failed"),
    "no window": (says({"kind": "ready"}), "evaluator_failed"),
    "window of 0": (says(READY | {"eval_tokens": 0}), "evaluator_failed"),
    "window of -1": (says(READY | {"eval_tokens": -1}), "evaluator_failed"),
    "window of true": (says(READY | {"eval_tokens": True}), "evaluator_failed"),
    "batch of text": (says(READY | {"eval_batch": "2"}), "evaluator_failed"),
    "batch beyond bounds": (says(READY | {"eval_batch": 2**40}), "evaluator_failed"),
    "another window": (says(READY | {"eval_tokens": 9}), "evaluator_failed"),
    "slot never asked": (says(READY, {"kind": "logits", "slot": 7, "dtype": "float32"}), "logits_invalid"),
    "slot as list": (says(READY, {"kind": "logits", "slot": [0], "dtype": "float32"}), "logits_invalid"),
    "slot as float": (says(READY, {"kind": "logits", "slot": 0.0, "dtype": "float32"}), "logits_invalid"),
    "slot as bool": (says(READY, {"kind": "logits", "slot": False, "dtype": "float32"}), "logits_invalid"),
    "dtype unknown": (says(READY, {"kind": "logits", "slot": 0, "dtype": "float64"}), "logits_invalid"),
    "dtype as list": (says(READY, {"kind": "logits", "slot": 0, "dtype": []}), "logits_invalid"),
    "fails": (says({"kind": "failed", "reason": "evaluator_failed", "error": "no luck"}), "evaluator_failed"),
    "fails late": (says(READY, {"kind": "failed", "reason": "logits_invalid", "error": [1]}), "logits_invalid"),
    "fails oddly": (says({"kind": "failed", "reason": ["what"], "error": "\ud800"}), "evaluator_failed"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_evaluator_fails_and_the_judge_does_not(tmp_path: Path, name: str) -> None:
    hostile, status = HOSTILE[name]
    stream = np.random.default_rng(0).integers(0, 5, 401)

    def honest(channel: Channel) -> None:
        with suppress(EOFError, ConnectionError):
            answer(channel, {"eval_tokens": 8, "eval_batch": 2}, lambda t: torch.zeros(*t.shape, 5))

    exam = an_exam(tmp_path, stream, [honest, hostile], vocab_size=5, val_tokens=400)
    with exam as judge, pytest.raises(EvaluationError) as raised:
        judge.score()
    assert raised.value.status == status
    assert str(raised.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_logits_without_a_finite_loss_are_no_logits(tmp_path: Path, value: float) -> None:
    stream = np.random.default_rng(0).integers(0, 5, 401)

    def spoil(tokens: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*tokens.shape, 5)
        logits[..., 3] = value
        return logits

    evaluators = [lambda c: answer(c, {"eval_tokens": 8, "eval_batch": 2}, spoil)] * 2
    exam = an_exam(tmp_path, stream, evaluators, vocab_size=5, val_tokens=400)
    with exam as judge, pytest.raises(EvaluationError, match="window") as raised:
        judge.score()
    assert raised.value.status == "logits_invalid"


def test_logits_rewritten_after_the_answer_change_nothing(tmp_path: Path) -> None:
    """What the judge reads is its own copy: between softmax and target nobody else can write."""
    stream = np.random.default_rng(0).integers(0, 5, 17)
    with an_exam(tmp_path, stream, [leaves, leaves], vocab_size=5, val_tokens=16) as judge:
        judge.tokens, judge.batch = 8, 1
        evaluator = judge.evaluators[0]
        evaluator.memory = mmap.mmap(-1, 2 * 8 * 5 * 4)
        evaluator.memory[:] = np.zeros(80, np.float32).tobytes()
        logits = judge._take(evaluator, 1, torch.float32)
        evaluator.memory[:] = np.full(80, 9.0, np.float32).tobytes()
        losses = judge._losses(logits, [Task(0, stream[:8].astype(np.uint16), True)])
    np.testing.assert_allclose(losses[0], np.log(5), rtol=1e-6)


# the same through the whole command


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """By hand, from the format's description: a length, a JSON header, the bytes."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    dtypes = {"F32": torch.float32, "BF16": torch.bfloat16, "I64": torch.int64}
    tensors = {}
    for name, entry in json.loads(content[8:end]).items():
        first, last = (end + offset for offset in entry["data_offsets"])
        body = torch.frombuffer(bytearray(content[first:last]), dtype=dtypes[entry["dtype"]])
        tensors[name] = body.reshape(entry["shape"])
    return tensors


def validation(speedrun: Any, count: int) -> npt.NDArray[Any]:
    path = next(path for path in (speedrun.data / "embedded-tiny").iterdir() if "val" in path.name)
    return np.asarray(read_shard(path)[: count + 1])


def test_an_independent_evaluation_agrees(speedrun: Any, tmp_path: Path, write_track: Any) -> None:
    outcome = speedrun.run(BIGRAM, "--keep-weights", track=write_track(tmp_path, val_tokens=19_999))
    score = outcome.record["score"]
    weights = read_safetensors(outcome.folder / "weights.safetensors")
    losses = losses_of(weights["logits"], validation(speedrun, 19_999))
    assert score["val_loss"] == pytest.approx(losses.mean(), abs=1e-5)
    assert score["count"] == len(losses) == 19_999
    sums = [window.sum() for window in in_windows(losses, 128)]
    np.testing.assert_allclose(score["windows"]["loss_sums"], sums, atol=1e-5 * 128)
    assert outcome.record["weights"]["tensors"] == 1


SPLIT = """
import bigram, torch
EVAL_TOKENS, EVAL_BATCH = 100, 7
def train(run):
    rows = torch.arange(run.vocab_size).chunk(2)[run.rank]
    weights = {f"rows{run.rank}": torch.zeros(len(rows), run.vocab_size)}
    run.reserve(weights)
    shards = run.go()
    weights[f"rows{run.rank}"] = bigram.count_bigrams(bigram.read(shards[0], 100_000), run.vocab_size)[rows]
    run.stop(weights)
def load(weights, device):
    table = torch.cat([weights["rows0"], weights["rows1"]]).bfloat16()
    return lambda tokens: table[tokens]
"""


def test_weights_split_over_ranks_and_logits_in_bfloat16(speedrun: Any, tmp_path: Path) -> None:
    (tmp_path / "bigram.py").write_bytes(BIGRAM.read_bytes())
    (tmp_path / "train_gpt.py").write_text(SPLIT)
    outcome = speedrun.run(tmp_path, "--keep-weights")
    weights = read_safetensors(outcome.folder / "weights.safetensors")
    table = torch.cat([weights["rows0"], weights["rows1"]]).bfloat16()
    score = outcome.record["score"]
    assert score["val_loss"] == pytest.approx(losses_of(table, validation(speedrun, 20_000)).mean(), abs=1e-5)
    assert (score["windows"]["tokens"], score["eval_batch"]) == (100, 7)


def test_looking_ahead_is_found_and_named(speedrun: Any, tmp_path: Path, write_submission: Any) -> None:
    peek = "return torch.nn.functional.one_hot(tokens.roll(-1, 1), len(weights['table'])).half() * 20"
    outcome = speedrun.run(write_submission(tmp_path, logits=peek), "--nproc", "1")
    assert outcome.code == 1
    assert outcome.record["status"] == "complete"
    assert outcome.record["score"]["val_loss"] < 1
    assert [(finding["id"], finding["severity"]) for finding in outcome.record["findings"]] == [("causality", "error")]
    assert "causality" in outcome.stdout

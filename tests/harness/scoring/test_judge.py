"""The judge: every target once, the right loss, and nothing an evaluator can do to it."""

import ast
import hashlib
import json
import mmap
import os
import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.corpus import narration
from data.corpus.language import language
from data.shards import write_shard
from harness.formats.run import Score
from harness.formats.track import load_track
from harness.sandbox.inside import HEADER, Channel, encode
from harness.scoring import findings, relabelling, shadow
from harness.scoring.examinee import EvaluationError
from harness.scoring.judge import Judge
from tests.harness.scoring.exams import an_exam, answer

ROOT = Path(__file__).resolve().parents[3]
BIGRAM = ROOT / "tests" / "submissions" / "bigram.py"


def losses_of(table: torch.Tensor, stream: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Nats of every target of the stream under a table [token, next token], in float64, the long way round."""
    logits = table.double().numpy()[stream[:-1]]
    shifted = logits - logits.max(-1, keepdims=True)
    chosen = np.take_along_axis(shifted, stream[1:, None].astype(np.int64), -1)[:, 0]
    losses: npt.NDArray[Any] = np.log(np.exp(shifted).sum(-1)) - chosen
    return losses


def in_windows(values: npt.NDArray[Any], tokens: int) -> list[npt.NDArray[Any]]:
    return [values[start : start + tokens] for start in range(0, len(values), tokens)]


@settings(max_examples=40)
@given(
    count=st.integers(1, 300), surplus=st.integers(0, 90), shadow_tokens=st.sampled_from([0, 7, 40]),
    relabel=st.booleans(), wish=st.tuples(st.integers(1, 80), st.integers(1, 9)),
    probe_pairs=st.integers(0, 6), dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_every_target_is_counted_once_in_its_window(
    tmp_path: Path, count: int, surplus: int, shadow_tokens: int, relabel: bool, wish: tuple[int, int],
    probe_pairs: int, dtype: torch.dtype, seed: int,
) -> None:  # fmt: skip
    """Whatever else is asked among them: probes, shadow windows, fillers."""
    vocab = 11
    stream = np.random.default_rng(seed).integers(0, vocab, count + 1 + surplus)
    table = torch.randn(vocab, vocab, generator=torch.Generator().manual_seed(seed)).mul(3).to(dtype)
    evaluators = [
        lambda c: answer(c, {"eval_tokens": wish[0], "eval_batch": wish[1]}, lambda tokens: table[tokens])
    ] * 2
    order = {"vocab_size": vocab, "val_tokens": count, "probe_pairs": probe_pairs, "shadow_tokens": shadow_tokens}
    key = bytes(range(32)) if relabel else None
    with an_exam(tmp_path, stream, evaluators, seed, relabelling_key=key and key.hex(), **order) as judge:
        score = judge.score()
    tokens = min(wish[0], 64, count)
    if relabel:
        stream = relabelling.draw(vocab, key).tokens(stream)
    expected = in_windows(losses_of(table, stream[: count + 1]), tokens)
    assert score["count"] == count
    assert score["windows"]["tokens"] == tokens
    assert score["windows"]["counts"] == [len(window) for window in expected]
    np.testing.assert_allclose(score["windows"]["loss_sums"], [w.sum() for w in expected], rtol=1e-5, atol=1e-5)
    assert score["val_loss"] == pytest.approx(np.concatenate(expected).mean(), abs=1e-5)
    assert score["loss_sum"] == pytest.approx(sum(score["windows"]["loss_sums"]))
    assert {name: score["probes"][name] for name in NOTHING_FOUND} == NOTHING_FOUND
    assert score["probes"]["pairs"] == probe_pairs
    for again in (score["probes"]["order"], score["probes"]["repeat"]):
        assert again == {"pairs": min(-(-probe_pairs // 4), len(expected))} | NOTHING_DIFFERS
    check_shadow(score, table, stream[count + 1 :], shadow_tokens, tokens)


NOTHING_DIFFERS = {"max_abs_difference": 0.0, "mean_abs_difference": 0.0}
NOTHING_FOUND = NOTHING_DIFFERS | {"gain": 0.0, "last_gain": 0.0, "state_gain": 0.0}


def check_shadow(score: dict[str, Any], table: torch.Tensor, rest: npt.NDArray[Any], wanted: int, tokens: int) -> None:
    """The unscored windows are windows of the rest, do not overlap, and their loss is that of the same table."""
    found, room = score["shadow"], (len(rest) - 1) // tokens
    if not wanted or room < 1:
        assert found is None
        return
    text = shadow.sample(found["seed"], wanted, tokens, rest)
    assert text is not None
    losses = [losses_of(table, np.append(text.inputs(w), text.targets(w)[-1:])) for w in range(len(text))]
    assert found["count"] == min(room, max(1, wanted // tokens)) * tokens
    assert found["val_loss"] == pytest.approx(np.concatenate(losses).mean(), abs=1e-5)
    assert found["gap"] == pytest.approx(found["val_loss"] - score["val_loss"], abs=1e-6)


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


def test_a_model_that_learns_from_what_it_is_asked_is_found(tmp_path: Path) -> None:
    """Training at evaluation time: counts of all windows so far. What one evaluator saw the other did not."""

    def learner() -> Callable[[Channel], None]:
        counts = torch.ones(31, 31)

        def learn(tokens: torch.Tensor) -> torch.Tensor:
            logits = counts.log()[tokens]
            counts.index_put_((tokens[:, :-1], tokens[:, 1:]), torch.tensor(1.0), accumulate=True)
            return logits

        return lambda c: answer(c, {"eval_tokens": 20, "eval_batch": 2}, learn)

    stream = np.arange(2001) * 7 % 31
    exam = an_exam(tmp_path, stream, [learner(), learner()], vocab_size=31, val_tokens=2000, probe_pairs=16)
    with exam as judge:
        score = judge.score()
    assert score["val_loss"] < np.log(31) - 1  # it pays
    assert score["probes"]["order"]["max_abs_difference"] > 0.05
    assert score["probes"]["repeat"]["max_abs_difference"] > 0.05


def test_replaying_what_was_said_fools_repeats_and_not_the_other_evaluator(tmp_path: Path) -> None:
    def replayer() -> Callable[[Channel], None]:
        said: dict[bytes, torch.Tensor] = {}

        def replay(tokens: torch.Tensor) -> torch.Tensor:
            rows = []
            for row in tokens:
                logits = torch.zeros(len(row), 5)
                logits[:, 0] = len(said) / 10
                rows.append(said.setdefault(row.numpy().tobytes(), logits))
            return torch.stack(rows)

        return lambda c: answer(c, {"eval_tokens": 8, "eval_batch": 2}, replay)

    stream = np.random.default_rng(0).integers(0, 5, 801)
    exam = an_exam(tmp_path, stream, [replayer(), replayer()], vocab_size=5, val_tokens=800, probe_pairs=32)
    with exam as judge:
        found = judge.score()["probes"]
    assert found["repeat"]["max_abs_difference"] == 0
    assert found["order"]["max_abs_difference"] > 0.05


def test_a_model_that_depends_on_its_neighbours_in_the_batch_is_found(tmp_path: Path) -> None:
    def mean_of_batch(tokens: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(tokens, 5).float().mean(0, keepdim=True).expand(*tokens.shape, 5) * 9

    stream = np.random.default_rng(0).integers(0, 5, 801)
    evaluators = [lambda c: answer(c, {"eval_tokens": 8, "eval_batch": 4}, mean_of_batch)] * 2
    with an_exam(tmp_path, stream, evaluators, vocab_size=5, val_tokens=800, probe_pairs=16) as judge:
        found = judge.score()["probes"]
    assert found["order"]["max_abs_difference"] > 0.05


def test_knowing_the_scored_text_by_heart_shows_in_the_gap(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stream = rng.integers(0, 50, 4001)
    known = {tuple(stream[i : i + 3]): stream[i + 3] for i in range(2000 - 2)}

    def remember(tokens: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*tokens.shape, 50)
        for row, place in np.ndindex(*tokens.shape):
            if (target := known.get(tuple(tokens[row, max(0, place - 2) : place + 1].tolist()))) is not None:
                logits[row, place, target] = 9.0
        return logits

    evaluators = [lambda c: answer(c, {"eval_tokens": 40, "eval_batch": 4}, remember)] * 2
    exam = an_exam(tmp_path, stream, evaluators, vocab_size=50, val_tokens=2000, shadow_tokens=400)
    with exam as judge:
        score = judge.score()
    assert score["val_loss"] < 1
    assert score["shadow"]["val_loss"] > 3
    assert score["shadow"]["gap"] > 30 * score["shadow"]["standard_error"]


def test_fresh_shadow_text_needs_no_more_of_the_shard(tmp_path: Path) -> None:
    stream = np.random.default_rng(0).integers(0, 325, 401)
    evaluators = [lambda c: answer(c, {"eval_tokens": 40, "eval_batch": 4}, lambda t: torch.zeros(*t.shape, 325))] * 2
    order = {"vocab_size": 325, "val_tokens": 400, "shadow_tokens": 100, "shadow_source": "fresh"}
    with an_exam(tmp_path, stream, evaluators, **order) as judge:
        found = judge.score()["shadow"]
    assert (found["source"], found["count"]) == ("fresh", 100)
    assert found["val_loss"] == pytest.approx(np.log(325), abs=1e-5)


@pytest.mark.parametrize(
    ("ring_bytes", "batch", "slots"),
    [(2**20, 4, 2), (2 * 2 * 16 * 11 * 4, 2, 2), (16 * 11 * 4, 1, 1), (1, 1, 1)],
)
def test_memory_for_logits_is_bounded_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring_bytes: int, batch: int, slots: int
) -> None:
    """However many windows a submission asks for at once; the score does not depend on it."""
    for module in ("judge", "examinee"):
        monkeypatch.setattr(f"harness.scoring.{module}.RING_BYTES", ring_bytes)
    stream = np.random.default_rng(1).integers(0, 11, 200)
    table = torch.randn(11, 11, generator=torch.Generator().manual_seed(1))
    evaluators = [lambda c: answer(c, {"eval_tokens": 16, "eval_batch": 4}, lambda tokens: table[tokens])] * 2
    with an_exam(tmp_path, stream, evaluators, vocab_size=11, val_tokens=150) as judge:
        score = judge.score()
        assert {len(evaluator.memory or b"") for evaluator in judge.evaluators} == {slots * batch * 16 * 11 * 4}
    assert score["eval_batch"] == batch
    assert score["val_loss"] == pytest.approx(losses_of(table, stream[:151]).mean(), abs=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_losses_computed_on_the_gpu_are_those_of_the_cpu(tmp_path: Path) -> None:
    """At GPT-2's vocabulary, in half precision, through page-locked memory."""
    vocab, stream = 50_257, np.random.default_rng(1).integers(0, 50_257, 600)
    logits = torch.randn(64, vocab, generator=torch.Generator().manual_seed(1)).half()
    evaluators = [lambda c: answer(c, {"eval_tokens": 64, "eval_batch": 2}, lambda tokens: logits[tokens % 64])] * 2
    losses = []
    for device in ("cpu", "cuda"):
        with an_exam(tmp_path, stream, evaluators, vocab_size=vocab, val_tokens=500, device=device) as judge:
            losses.append(judge.score()["val_loss"])
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_memory_for_logits_cannot_be_cut_short(tmp_path: Path) -> None:
    """A judge that reads what is no longer there would die of SIGBUS."""
    refused = []

    def shrink(channel: Channel) -> None:
        channel.receive()
        channel.send(READY)
        _, _, (fd,) = channel.receive()
        for size in (0, 2**30):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, size)
            refused.append(size)
        os.close(fd)

    stream = np.random.default_rng(0).integers(0, 5, 401)
    with (
        an_exam(tmp_path, stream, [shrink, says(READY)], vocab_size=5, val_tokens=400) as judge,
        pytest.raises(EvaluationError),
    ):
        judge.score()
    assert refused == [0, 2**30]


def test_a_validation_shard_that_was_written_to_is_refused(tmp_path: Path) -> None:
    """Where files are withheld by path only, somebody may have made the text easier since it was verified."""
    write_shard(tmp_path / "val.bin", np.arange(101) % 5)
    digest = hashlib.sha256((tmp_path / "val.bin").read_bytes()).hexdigest()
    order = {"val_path": str(tmp_path / "val.bin"), "val_sha256": digest, "val_tokens": 100, "pairs": [], "weights": []}
    judge = Judge(order)
    with (tmp_path / "val.bin").open("r+b") as file:
        file.seek(1024)
        file.write(bytes(200))
    assert judge.stream.tolist() == (np.arange(101) % 5).tolist()  # it holds a copy
    with pytest.raises(EvaluationError, match=r"val\.bin") as raised:
        Judge(order)
    assert raised.value.status == "data_invalid"


class Bomb:
    """An object that does something when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.path, "w"))


@pytest.mark.parametrize("wrapped", [True, False], ids=["framed", "bare"])
def test_a_pickle_is_only_bytes(tmp_path: Path, wrapped: bool) -> None:
    proof = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(str(proof)), protocol=0)
    stream = np.random.default_rng(0).integers(0, 5, 401)
    evaluators = [says(HEADER.pack(len(bomb), len(bomb)) + bomb * 2 if wrapped else bomb), leaves]
    exam = an_exam(tmp_path, stream, evaluators, vocab_size=5, val_tokens=400)
    with exam as judge, pytest.raises(EvaluationError):
        judge.score()
    assert not proof.exists()
    pickle.loads(bomb).close()
    assert proof.exists()  # it would have


def imports_of(name: str, tree: ast.Module) -> set[str]:
    """Everything a module imports, wherever the import stands, with full names."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = name.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


BUILDERS = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "exec", "eval", "torch.load"}


def test_the_judge_knows_no_way_to_build_an_object() -> None:
    """What runs in the judge's process, of ours: no import and no call that turns bytes into objects."""
    found, waiting = set(), {"harness.scoring.judge"}
    while waiting:
        name = waiting.pop()
        found.add(name)
        tree = ast.parse((ROOT / Path(*name.split("."))).with_suffix(".py").read_text())
        imported = imports_of(name, tree)
        used = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not (imported | used | {call.partition(".")[0] for call in used}) & BUILDERS, name
        waiting |= {m for m in imported if (ROOT / Path(*m.split("."))).with_suffix(".py").is_file()} - found
    expected = (
        "harness.scoring.judge",
        "harness.scoring.probes",
        "harness.scoring.shadow",
        "harness.sandbox.inside",
        "data.shards",
    )
    assert found.issuperset(expected)


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


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
WORDS = st.sampled_from(["kind", "slot", "dtype", "error", "reason", "eval_tokens", "eval_batch"])
CLAIMS = st.dictionaries(WORDS, ANY_JSON | st.sampled_from(["ready", "failed", "logits", "float32", 0, 1]), max_size=7)
FRAMES = st.one_of(
    CLAIMS, st.binary(max_size=40), st.builds(lambda b: HEADER.pack(len(b), 0) + b, st.binary(max_size=9))
)


@settings(max_examples=60)
@given(ready=st.booleans(), frames=st.lists(FRAMES, max_size=4))
def test_whatever_an_evaluator_says_the_judge_ends_with_a_sentence(
    tmp_path: Path, ready: bool, frames: list[dict[str, Any] | bytes]
) -> None:
    def babble(channel: Channel) -> None:
        with suppress(OSError):
            for frame in [READY] * ready + frames:
                channel.sock.sendall(frame if isinstance(frame, bytes) else encode(frame))

    stream = np.random.default_rng(0).integers(0, 5, 401)
    exam = an_exam(tmp_path, stream, [babble, babble], vocab_size=5, val_tokens=400)
    with exam as judge, pytest.raises(EvaluationError) as raised:
        judge.score()
    assert raised.value.status in {"evaluator_failed", "logits_invalid"}
    assert str(raised.value)


@pytest.mark.parametrize(("track", "noise", "dtype"), [
    ("nano-2cpu", 1e-5, torch.float32), ("gpt2-small-8xh100", 1e-2, torch.float32),
    ("gpt2-small-8xh100", 1e-3, torch.bfloat16),
])  # fmt: skip
def test_honest_arithmetic_is_no_finding(tmp_path: Path, track: str, noise: float, dtype: torch.dtype) -> None:
    """A causal model whose sums come out a little otherwise each time, and then are rounded.

    On a CPU kernels are deterministic: its tolerance is below one step of bfloat16 at 8 (0.06), that of a GPU is not.
    """
    rng = np.random.default_rng(0)
    stream, table = rng.integers(0, 50, 6001), torch.randn(50, 50, generator=torch.Generator().manual_seed(0)) * 3

    def noisy(seed: int) -> Callable[[Channel], None]:
        generator = torch.Generator().manual_seed(seed)

        def model(tokens: torch.Tensor) -> torch.Tensor:
            causal = table[tokens].cumsum(1) / torch.arange(1, tokens.shape[1] + 1)[:, None] * 2
            return (causal + torch.randn(causal.shape, generator=generator) * noise).to(dtype)

        return lambda c: answer(c, {"eval_tokens": 60, "eval_batch": 4}, model)

    evaluators = [noisy(1), noisy(2)]
    order = {"vocab_size": 50, "val_tokens": 4800, "probe_pairs": 32, "shadow_tokens": 600}
    with an_exam(tmp_path, stream, evaluators, **order) as judge:
        score = Score.model_validate(judge.score())
    assert score.probes.max_abs_difference > 0
    found = findings.findings(score.model_copy(update={"shadow": None}), load_track(track).evaluation)
    assert found == []


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


def test_an_evaluator_that_goes_on_writing_cannot_part_softmax_from_target(tmp_path: Path) -> None:
    """Scores of one moment and a target of another would make losses below nothing."""
    stream, stop = np.random.default_rng(0).integers(0, 5, 401), threading.Event()

    def flicker(channel: Channel) -> None:
        channel.receive()
        channel.send(READY)
        ring, _, (fd,) = channel.receive()
        memory = np.frombuffer(mmap.mmap(fd, ring["slots"] * ring["slot_bytes"]), np.float32)
        os.close(fd)

        def write() -> None:
            while not stop.is_set():
                memory[...] = 0.0
                memory[...] = 50.0

        writer = threading.Thread(target=write)
        writer.start()
        with suppress(EOFError, ConnectionError):
            while True:
                request, _, _ = channel.receive()
                channel.send({"kind": "logits", "slot": request["slot"], "dtype": "float32"})
        stop.set()
        writer.join()

    with an_exam(tmp_path, stream, [flicker, flicker], vocab_size=5, val_tokens=400) as judge:
        sums = judge.score()["windows"]["loss_sums"]
    assert min(sums) >= 0
    assert max(sums) <= 8 * (50 + np.log(5)) + 1e-3


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


def validation(record: dict[str, Any], count: int) -> npt.NDArray[Any]:
    """The validation text of a run, made anew in the language it revealed."""
    spoken = language(bytes.fromhex(record["language"]))
    return narration.generate(spoken.seed("validation"), count + 1, spoken)


def test_an_independent_evaluation_agrees(speedrun: Any, tmp_path: Path, write_track: Any) -> None:
    outcome = speedrun.run(BIGRAM, "--keep-weights", track=write_track(tmp_path, val_tokens=19_999))
    score = outcome.record["score"]
    weights = read_safetensors(outcome.folder / "weights.safetensors")
    losses = losses_of(weights["logits"], validation(outcome.record, 19_999))
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


@pytest.mark.slow
def test_weights_split_over_ranks_and_logits_in_bfloat16(speedrun: Any, tmp_path: Path) -> None:
    (tmp_path / "bigram.py").write_bytes(BIGRAM.read_bytes())
    (tmp_path / "train_gpt.py").write_text(SPLIT)
    outcome = speedrun.run(tmp_path, "--keep-weights")
    weights = read_safetensors(outcome.folder / "weights.safetensors")
    table = torch.cat([weights["rows0"], weights["rows1"]]).bfloat16()
    score = outcome.record["score"]
    assert score["val_loss"] == pytest.approx(losses_of(table, validation(outcome.record, 20_000)).mean(), abs=1e-5)
    assert (score["windows"]["tokens"], score["eval_batch"]) == (100, 7)


@pytest.mark.slow
def test_looking_ahead_is_found_and_named(speedrun: Any, tmp_path: Path, write_submission: Any) -> None:
    peek = "return torch.nn.functional.one_hot(tokens.roll(-1, 1), len(weights['table'])).half() * 20"
    outcome = speedrun.run(write_submission(tmp_path, logits=peek), "--nproc", "1")
    assert outcome.code == 1
    assert outcome.record["status"] == "complete"
    assert outcome.record["score"]["val_loss"] < 1
    assert [(finding["id"], finding["severity"]) for finding in outcome.record["findings"]] == [("causality", "error")]
    assert "causality" in outcome.stdout


@pytest.mark.slow
def test_training_at_evaluation_time_is_found_and_named(speedrun: Any, tmp_path: Path, write_submission: Any) -> None:
    """Its own weights, written to while it answers: the other evaluator's stay what they are."""
    learn = """
logits = weights["table"].clone().expand(*tokens.shape, -1)
with torch.inference_mode(False), torch.enable_grad():
    weights["table"] += torch.bincount(tokens.flatten(), minlength=len(weights["table"])) / 100
return logits
"""
    outcome = speedrun.run(write_submission(tmp_path, logits=learn), "--nproc", "1")
    assert (outcome.code, outcome.record["status"]) == (1, "complete")
    found = {(f["id"], f["severity"]) for f in outcome.record["findings"]}
    assert ("hidden_state", "error") in found
    assert found <= {
        ("hidden_state", "error"), ("first_answer_changed", "error"),
        ("shadow_gap", "error"),  # what it learns on may lie on either side
    }  # fmt: skip


def test_windows_beyond_the_limit_are_summed_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.scoring.tally.MAX_SUMS", 4)
    stream = np.random.default_rng(3).integers(0, 11, 108)
    table = torch.randn(11, 11, generator=torch.Generator().manual_seed(3))
    evaluators = [lambda c: answer(c, {"eval_tokens": 10, "eval_batch": 2}, lambda tokens: table[tokens])] * 2
    with an_exam(tmp_path, stream, evaluators, vocab_size=11, val_tokens=107, probe_pairs=2) as examiner:
        windows = examiner.score()["windows"]
    expected = in_windows(losses_of(table, stream), 30)  # 11 windows of 10, three to a sum
    assert (windows["tokens"], windows["windows_per_sum"]) == (10, 3)
    assert windows["counts"] == [30, 30, 30, 17]
    np.testing.assert_allclose(windows["loss_sums"], [part.sum() for part in expected], rtol=1e-5)

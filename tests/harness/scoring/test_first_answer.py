"""The first answer: what an evaluator does with the real weights is timed, and cannot be another answer than later."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.formats.answers import Answers, AskedAgain, EvaluatorAnswers, LaterAnswers
from harness.formats.run import Charge, Score
from harness.formats.track import load_track
from harness.sandbox.inside import Channel
from harness.scoring import charges, findings
from harness.scoring.examinee import EvaluationError
from harness.scoring.first_answer import FIRST_WINDOWS, LEAST_REHEARSALS, MOST_REHEARSALS
from harness.scoring.judge import Judge
from tests.harness.scoring.exams import Evaluate, a_buffer, an_exam, answer, listed

TINY = Path(__file__).resolve().parents[2] / "tracks" / "tiny" / "track.toml"
VOCAB = 11
STREAM = np.random.default_rng(0).integers(0, VOCAB, 801)
TABLE = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(1))
WISH = {"eval_tokens": 8, "eval_batch": 4}
NEVER_FREE, ALWAYS_FREE = 0, 10**18


class Model:
    """An evaluator that notes what it is asked to do. work: done with the weights at each load, and each answer."""

    def __init__(self, loads: Callable[[bool], None] = lambda _: None, answers: Callable[[Any], None] = lambda _: None):
        self.told: list[str] = []
        self.windows: list[np.ndarray] = []
        self.real, self.loads, self.answers, self.table = False, loads, answers, TABLE

    def load(self, content: bytes) -> None:
        self.real = any(content)
        self.told.append("real" if self.real else "reserved")
        self.loads(self.real)

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        self.told.append("window" if len(tokens) == 1 else "batch")
        self.windows.append(tokens.numpy())
        self.answers(self)
        return self.table[tokens]

    def __call__(self, channel: Channel) -> None:
        answer(channel, WISH, self.logits, self.load)


@contextmanager
def a_timed_exam(folder: Path, evaluators: list[Evaluate], free_ns: int = ALWAYS_FREE, **order: Any) -> Iterator[Judge]:
    """Reserved values are noughts, sealed ones are not."""
    sealed, reserved = a_buffer(table=TABLE), a_buffer(table=torch.zeros_like(TABLE))
    told = {"weights": listed(sealed), "reserved": listed(reserved), "free_ns": free_ns, "budget_s": 600.0}
    limits = {"vocab_size": VOCAB, "val_tokens": 800, "shadow_tokens": 0}
    try:
        with an_exam(folder, STREAM, evaluators, **(told | limits | order)) as judge:
            yield judge
    finally:
        for buffer in (sealed, reserved):
            buffer.close()


def answers_of(judge: Judge) -> Answers:
    score = Score.model_validate(judge.score())
    assert score.answers is not None
    return score.answers


def test_rehearsals_come_first_and_the_weights_come_with_one_window(tmp_path: Path) -> None:
    models = [Model(), Model()]
    with a_timed_exam(tmp_path, [*models]) as judge:
        answers = answers_of(judge)
    for model, times in zip(models, answers.pairs[0], strict=True):
        count = len(times.rehearsals_ns)
        assert LEAST_REHEARSALS <= count <= MOST_REHEARSALS
        opening = ["reserved", "batch", *["reserved", "window"] * count, "real", *["window"] * FIRST_WINDOWS]
        assert model.told[: len(opening)] == opening
        assert set(model.told[len(opening) :]) == {"batch"}
        assert len(times.first_ns) == FIRST_WINDOWS
        assert times.rehearsal_failed is None


def test_rehearsals_are_no_text_of_the_exam(tmp_path: Path) -> None:
    models = [Model(), Model()]
    with a_timed_exam(tmp_path, [*models]) as judge:
        judge.score()
    text = {STREAM[start : start + 8].tobytes() for start in range(len(STREAM) - 8)}
    for model in models:
        rehearsed = model.told[: model.told.index("real")]
        asked = sum(told != "reserved" for told in rehearsed)
        windows = [row.tobytes() for batch in model.windows[:asked] for row in batch]
        assert not text.intersection(windows)
        assert len(set(windows)) == len(windows), "fresh ones every time"


def test_first_windows_are_asked_again_of_both_evaluators(tmp_path: Path) -> None:
    models = [Model(), Model()]
    with a_timed_exam(tmp_path, [*models]) as judge:
        answers = answers_of(judge)
    first = [
        row.tobytes() for m in models for row in np.concatenate([w for w in m.windows if len(w) == 1][-FIRST_WINDOWS:])
    ]
    assert len(set(first)) == 2 * FIRST_WINDOWS, "other windows for each"
    for model in models:
        later = {row.tobytes() for batch in model.windows if len(batch) == 4 for row in batch}
        assert later.issuperset(first)
    assert answers.again.model_dump() == {
        "pairs": 4 * FIRST_WINDOWS, "max_abs_difference": 0.0, "mean_abs_difference": 0.0, "mean_gain": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize("slow_pairs", [0, 1, 2, 3])
def test_a_fresh_pair_is_asked_where_both_are_slow(tmp_path: Path, slow_pairs: int) -> None:
    """And the last one answers the batches; training is done by each, noise is not."""
    free_ns = 500_000_000

    def slow(is_real: bool) -> None:
        time.sleep(2 * free_ns / 1e9 if is_real else 0)

    models = [Model(slow) if index < 2 * slow_pairs else Model() for index in range(6)]
    with a_timed_exam(tmp_path, [*models], free_ns) as judge:
        answers = answers_of(judge)
    assert len(answers.pairs) == min(slow_pairs + 1, 3)
    assert [bool(model.told) for model in models] == [index < 2 * len(answers.pairs) for index in range(6)]
    assert (answers.first_ns > free_ns) == (slow_pairs == 3)
    assert "batch" in models[2 * len(answers.pairs) - 1].told[-1]
    assert answers.again.pairs == 2 * 2 * FIRST_WINDOWS * len(answers.pairs), "those of all pairs"


def test_one_quick_evaluator_is_enough(tmp_path: Path) -> None:
    slow = Model(lambda is_real: time.sleep(1.0 if is_real else 0))
    with a_timed_exam(tmp_path, [slow, Model()], 800_000_000) as judge:
        answers = answers_of(judge)
    assert len(answers.pairs) == 1
    assert answers.pairs[0][0].slowest_ns > 1_000_000_000 > answers.first_ns


def test_the_slowest_of_the_first_windows_counts(tmp_path: Path) -> None:
    """Quick and bad on some of all windows: one of the four would have to be answered well."""

    def late() -> Model:
        seen = iter(range(10**6))
        return Model(answers=lambda model: time.sleep(0.3 if model.real and next(seen) == 2 else 0))

    with a_timed_exam(tmp_path, [late(), late()]) as judge:
        answers = answers_of(judge)
    assert answers.first_ns >= 300_000_000
    assert answers.pairs[0][0].first_ns[2] >= 300_000_000


@pytest.mark.parametrize("change", [0.0005, 0.002, 1.0])
def test_what_is_learnt_after_the_first_answer_is_found(tmp_path: Path, change: float) -> None:
    """Between answers, by a thread that runs on, while the other one is asked: later answers are others."""

    def learner() -> Model:
        model = Model()

        def learn(_: object) -> None:
            if model.told.count("window") - model.told.count("reserved") + 1 >= FIRST_WINDOWS and model.real:
                model.table = TABLE + change * torch.eye(VOCAB)

        model.answers = learn  # type: ignore[method-assign]
        return model

    with a_timed_exam(tmp_path, [learner(), learner()], probe_pairs=0) as judge:
        score = Score.model_validate(judge.score())
    found = findings.findings(score, load_track(str(TINY)).evaluation)
    assert [finding.id for finding in found] == (["first_answer_changed"] if change > 0.001 else [])


def test_who_is_noisy_anyhow_may_be_so_here(tmp_path: Path) -> None:
    """As order and repeat pairs show; but not without bound."""

    def noisy(seed: int, size: float) -> Evaluate:
        generator = torch.Generator().manual_seed(seed)

        def logits(tokens: torch.Tensor) -> torch.Tensor:
            return TABLE[tokens] + torch.randn(*tokens.shape, VOCAB, generator=generator) * size

        return lambda channel: answer(channel, WISH, logits)

    for size, ids in ((0.004, []), (0.5, ["hidden_state", "first_answer_changed"])):
        with a_timed_exam(tmp_path, [noisy(1, size), noisy(2, size)], probe_pairs=64) as judge:
            score = Score.model_validate(judge.score())
        assert [f.id for f in findings.findings(score, load_track("nano-2cpu").evaluation)] == ids


def test_a_rehearsal_that_fails_is_remembered_and_the_exam_goes_on(tmp_path: Path) -> None:
    def unhappy(channel: Channel) -> None:
        def refuse(message: dict[str, Any]) -> bool:
            return bool(message.get("rehearsal"))

        receive = channel.receive

        def watched() -> Any:
            while True:
                message, payload, fds = receive()
                if not refuse(message):
                    return message, payload, fds
                for fd in fds:
                    os.close(fd)
                channel.send({"kind": "rehearsal_failed", "error": "ValueError: noughts", **WISH})

        channel.receive = watched  # type: ignore[method-assign]
        answer(channel, WISH, lambda tokens: TABLE[tokens])

    with a_timed_exam(tmp_path, [unhappy, unhappy]) as judge:
        score = Score.model_validate(judge.score())
    assert score.answers is not None
    assert score.answers.rehearsal_failed == "ValueError: noughts"
    assert [len(evaluator.rehearsals_ns) for evaluator in score.answers.pairs[0]] == [0, 0]
    sentence, *_ = charges.told([Charge.of("first_answer", 42_000_000, 20_000_000)], score)
    assert "its rehearsal failed (ValueError: noughts)" in sentence


def test_an_evaluator_cannot_call_the_real_thing_a_rehearsal(tmp_path: Path) -> None:
    def liar(channel: Channel) -> None:
        def load(content: bytes) -> None:
            if any(content):
                channel.send({"kind": "rehearsal_failed", "error": "", **WISH})

        answer(channel, WISH, lambda tokens: TABLE[tokens], load)

    with a_timed_exam(tmp_path, [liar, Model()]) as judge, pytest.raises(EvaluationError):
        judge.score()


def test_later_answers_are_charged_beyond_three_medians_and_the_slack() -> None:
    times = [10] * 20 + [29, 31, 100, 400]
    later = LaterAnswers.of(times)
    assert (later.count, later.median_ns, later.slow_ns) == (24, 10, (400, 100, 31))
    assert later.excess_ns(0) == 370 + 70 + 1
    assert later.excess_ns(50) == 320 + 20
    assert LaterAnswers.of([]).excess_ns(0) == 0


def test_what_is_free_is_the_smaller_slack_and_the_reading_of_the_weights() -> None:
    evaluation = load_track("nano-2cpu").evaluation
    assert evaluation.free_answer_ns(10**11, 0) == 20_000_000
    assert evaluation.free_answer_ns(10**9, 0) == 5_000_000
    assert evaluation.free_answer_ns(10**9, 4_000_000) == 6_000_000


def test_charges_are_absolute(tmp_path: Path) -> None:
    """Slow rehearsals, slow later answers: nothing of it is taken off."""
    evaluation = load_track("nano-2cpu").evaluation

    def dawdling() -> Model:
        return Model(lambda _: time.sleep(0.2), lambda _: time.sleep(0.05))

    with a_timed_exam(tmp_path, [dawdling(), dawdling()], val_tokens=80) as judge:
        score = Score.model_validate(judge.score())
    assert score.answers is not None
    first, later = charges.of_answers(score.answers, evaluation, 10**10, 0)
    assert first.charged_ns == score.answers.first_ns - 20_000_000 >= 230_000_000
    assert later.charged_ns == later.measured_ns
    assert charges.told([first], score)[0].startswith("first answer ")
    assert charges.told([Charge.of("first_answer", 5, 5), Charge.of("later_answers", 0, 0)], score) == []


def test_a_part_that_one_makes_first_and_the_other_later_counts_once() -> None:
    """Which evaluator needs it when is drawn; both have to make it."""
    evaluation = load_track("nano-2cpu").evaluation
    quick, slow, ms = (5, 5, 5, 5), (5, 5, 900_000_000, 5), 1_000_000
    even, uneven = LaterAnswers.of([10 * ms] * 9), LaterAnswers.of([10 * ms] * 8 + [950 * ms])
    again = AskedAgain(pairs=0, max_abs_difference=0, mean_abs_difference=0, mean_gain=0)

    def charged(first: tuple[Any, Any], later: tuple[Any, Any]) -> list[float]:
        pair = tuple(EvaluatorAnswers(rehearsals_ns=(), first_ns=times) for times in first)
        answers = Answers(pairs=(pair,), later=later, again=again)  # type: ignore[arg-type]
        return [charge.charged_ns / ms for charge in charges.of_answers(answers, evaluation, 10**10, 0)]

    assert charged((quick, quick), (even, even)) == [0, 0]
    assert charged((quick, quick), (uneven, even)) == [0, 0], "noise"
    assert charged((slow, quick), (even, even)) == [0, 0], "noise"
    assert charged((quick, quick), (uneven, uneven)) == [0, 820]
    assert charged((slow, quick), (even, uneven)) == [0, 820]
    assert charged((quick, slow), (uneven, even)) == [0, 820]
    assert charged((slow, slow), (even, even)) == [880, 0]
    assert charged((slow, slow), (uneven, even)) == [880, 0]

"""The attack on languages: it is a submission as it is written, and it does decipher a language it has never seen."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.decipher.exchange import reigning, row, table, write_attack
from benchmarks.languages import load_script, spread
from harness.formats.submission import check_source, read_submission
from harness.formats.track import load_track

DECIPHER = """
import numpy as np
from cipher import decipher, kinds, neighbours
from corpus import narration
from corpus.language import language

def words_of(number, count):
    spoken = language(bytes([number] * 32))
    tokens = narration.generate(number, count, spoken).astype(np.int64)
    return tokens, np.argsort(spoken.numbers)

known = sum(neighbours(truth[tokens]) for tokens, truth in (words_of(number, 20_000) for number in range(1, 9)))
tokens, truth = words_of(99, 300_000)
print((kinds()[decipher(tokens, known)] == kinds()[truth]).mean())
"""


def test_the_attack_is_a_whole_submission_that_deciphers(tmp_path: Path) -> None:
    track = load_track("nano-2cpu")
    folder = write_attack(tmp_path / "attack", reigning("nano-2cpu"), 128, 8)
    assert "MIXTURE_STEPS, STEPS, RATE = 128, 8, 0.3" in (folder / "train_gpt.py").read_text()
    check_source(read_submission(folder), folder, track.budget.source_bytes)
    done = subprocess.run([sys.executable, "-c", DECIPHER], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.85  # the genders of names may be exchanged as a whole


def test_the_table_says_who_is_faster() -> None:
    def a_row(time_s: float, reached: bool) -> dict[str, object]:
        return {
            "run": "a run", "prepare_s": 20.0, "train_s": 0.1, "charged_s": {"prepare": time_s - 0.1},
            "time_s": time_s, "val_loss": 1.6, "reached": reached,
        }  # fmt: skip

    assert table([a_row(4.0, True), a_row(5.0, True), a_row(1.0, False)]).endswith(
        "the attack's best is NOT faster than the reigning script: 5.00 against 4.00 s"
    )
    assert "FASTER" in table([a_row(4.0, True), a_row(0.1, True)])
    assert table([a_row(4.0, True), a_row(0.1, False)]).endswith("no row of the attack reaches the target")


def test_a_row_holds_what_a_run_says(bundles: object, make_bundle: object, tmp_path: Path) -> None:
    from harness.campaigns.bundle import read_bundle

    run = read_bundle(make_bundle(tmp_path / "campaign")).runs("candidate")[0]  # type: ignore[operator]
    found = row("it", run)
    assert (found["train_s"], found["reached"]) == (2.0, True)
    assert run.time_ns is not None
    assert found["time_s"] == pytest.approx(run.time_ns / 1e9)
    assert set(found["charged_s"]) == {charge.kind for charge in run.charges}


def test_the_spread_of_languages_stands_beside_that_of_seeds() -> None:
    rows = [
        {"language": number, "entropy": 1.0 + number / 100, "val_loss": {64: 1.6 + number / 10}}
        for number in (0, 0, 1, 2)
    ]
    assert spread(rows) == [
        "2 languages: entropy 1.0150, sd 0.0071, 1.0100 to 1.0200",
        "2 languages: val_loss at 64 steps 1.7500, sd 0.0707, 1.7000 to 1.8000",
        "2 seeds: entropy 1.0000, sd 0.0000, 1.0000 to 1.0000",
        "2 seeds: val_loss at 64 steps 1.6000, sd 0.0000, 1.6000 to 1.6000",
    ]


def test_only_a_script_with_that_many_steps_is_changed(tmp_path: Path) -> None:
    (tmp_path / "train_gpt.py").write_text("steps = 3\n")
    with pytest.raises(ValueError, match="expected one line 'steps=76,'"):
        load_script(tmp_path / "train_gpt.py", 72)

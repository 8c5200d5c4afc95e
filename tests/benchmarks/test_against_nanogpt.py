"""The benchmark against nanoGPT: times out of its log, the seed of a copy, ratios, exit codes, what is shown and kept.

The last test runs both sides; it wants a checkout: the environment variable NANOGPT names a work tree.
"""

import io
import json
import math
import os
import pickle
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks import against_nanogpt
from benchmarks.against_nanogpt import Entry, Plan, conduct, find_entries, front_door, heading, outcome, report
from benchmarks.nanogpt import recipe
from benchmarks.nanogpt.recipe import SEED_LINE, Times, find_nanogpt, read_times
from benchmarks.nanogpt.results import NANOGPT, Run, nanogpt_run, our_run, summarise
from benchmarks.nanogpt.scripts import RECORDS, SETTINGS, write_script
from benchmarks.nanogpt.tables import show
from data.datasets import load_dataset, train_paths, val_path
from data.shards import read_shard
from data.tokenize.importing import import_files
from harness.errors import RunFailure, UserError
from harness.formats.run import RunRecord, read_run
from harness.formats.track import load_track
from harness.selftimed.record import SelfTimedRecord, read_self_timed
from harness.stats.significance import ratio_interval
from harness.status import ExitCode, Status

ROOT = Path(__file__).resolve().parent.parent.parent
(REPORTED,) = (ROOT / "records" / "shakespeare-2cpu" / "reported").glob("*_nanoGPT.json")
BIGRAM = ROOT / "tests" / "submissions" / "bigram.py"
TEXT = ROOT.parent / "shared" / "data" / "tinyshakespeare.txt"
TARGET = 1.898

# as nanoGPT printed it, every eighth iteration here
LOG = """\
found vocab_size = 65 (inside data/shakespeare_char/meta.pkl)
number of parameters: 0.80M
step 0: train loss 4.1676, val loss 4.1649
iter 0: loss 4.1828, time 2189.72ms, mfu -100.00%
iter 1: loss 4.1373, time 30.00ms, mfu -100.00%
iter 2: loss 4.1347, time 32.00ms, mfu -100.00%
iter 3: loss 4.0995, time 28.00ms, mfu -100.00%
step 4: train loss 3.5494, val loss 3.5571
saving checkpoint to out-shakespeare-char
iter 4: loss 4.0387, time 934.84ms, mfu -100.00%
iter 5: loss 3.9758, time 31.00ms, mfu 0.02%
step 6: train loss 3.5494, val loss 3.5590
iter 6: loss 3.9126, time 800.00ms, mfu 0.02%
"""


def log_of(times_ms: list[float], every: int, saved: set[int]) -> str:
    """A log with an evaluation every so many iterations and checkpoints after some of them."""
    lines = []
    for step, time_ms in enumerate(times_ms):
        if step % every == 0:
            lines.append(f"step {step}: train loss 3.0000, val loss 3.0000")
            lines += ["saving checkpoint to out-shakespeare-char"] if step in saved else []
        lines.append(f"iter {step}: loss 3.0000, time {time_ms:.2f}ms, mfu 0.01%")
    return "\n".join(lines) + "\n"


def times_of(text: str, folder: Path) -> Times:
    (folder / "log.txt").write_text(text)
    return read_times(folder / "log.txt")


def test_times_are_those_behind_the_last_checkpoint_without_evaluations(tmp_path: Path) -> None:
    times = times_of(LOG, tmp_path)
    assert times.iterations == 4  # step 6 was no better, so what the judge scores is older
    assert times.training_s == pytest.approx((30 + 30 + 32 + 28) / 1000)  # iteration 0 evaluates: the others' median
    assert times.own_s == pytest.approx(4.04556)
    assert times.median_ms == 30


@given(
    times_ms=st.lists(st.integers(1, 10**6), min_size=12, max_size=40),
    every=st.integers(2, 5),
    slow_ms=st.integers(1, 10**7),
)
def test_what_an_evaluation_takes_is_never_counted(
    tmp_path_factory: pytest.TempPathFactory, times_ms: list[int], every: int, slow_ms: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    last = (len(times_ms) - 1) // every * every
    slowed = [slow_ms if step % every == 0 else time_ms for step, time_ms in enumerate(times_ms)]
    times, other = (times_of(log_of([*map(float, ms)], every, {last}), folder) for ms in (times_ms, slowed))
    assert times.iterations == last
    assert times.training_s == other.training_s
    plain_ms = [ms for step, ms in enumerate(times_ms[:last]) if step % every]
    assert min(plain_ms) * last <= times.training_s * 1000 * (1 + 1e-12)
    assert times.training_s * 1000 <= max(plain_ms) * last * (1 + 1e-12)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nothing\n", "one run of nanoGPT in .*, found 0"),
        (LOG.replace("iter 2: loss 4.1347, time 32.00ms, mfu -100.00%\n", ""), "every iteration from 0 on"),
        (LOG.replace("saving checkpoint to out-shakespeare-char\n", ""), "a checkpoint after so many iterations"),
        (LOG.replace("time 32.00ms", "time nanms"), "a positive time of every iteration"),
        (LOG.replace("time 32.00ms", "time 0.00ms"), "a positive time of every iteration"),
        (
            LOG.replace("step 6:", "step 9:").replace("iter 6:", "saving checkpoint to x\niter 6:"),
            "a checkpoint after so",
        ),
        (log_of([9.0, 9.0], 1, {1}), "iterations without an evaluation"),
    ],
    ids=["no log", "gap", "no checkpoint", "nan", "zero", "checkpoint of the future", "only evaluations"],
)
def test_a_log_that_does_not_add_up_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        times_of(text, tmp_path)


def test_the_recipe_is_the_one_on_the_board() -> None:
    script = read_self_timed(REPORTED).script
    assert script.arguments == recipe.ARGUMENTS
    assert script.checkout_sha256 == recipe.SOURCE_SHA256


def test_its_track_is_the_contest_with_another_target() -> None:
    ours, contest = load_track(str(ROOT / "benchmarks" / "nanogpt")), load_track("shakespeare-2cpu")
    assert (ours.name, ours.target_val_loss, ours.hardware.world_size) == ("against-nanogpt", TARGET, 1)
    same = {"data", "budget", "evaluation", "significance", "rules", "metric", "rules_version"}
    assert ours.model_dump(include=same) == contest.model_dump(include=same)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A checkout of nanoGPT's shape."""
    root = tmp_path / "theirs"
    (root / "config").mkdir(parents=True)
    (root / "train.py").write_text(f"import torch\n{SEED_LINE}\nmax_seed = 1337\n")
    (root / "configurator.py").write_text("# overrides\n")
    (root / "config" / "train_shakespeare_char.py").write_text("out_dir = 'x'\n")
    (root / "big.bin").write_bytes(bytes(100))
    return root


def test_a_copy_differs_in_one_number_and_reads_the_referee_s_tokens(
    theirs: Path, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "DATASET", "embedded-tiny")
    script = recipe.take_seeded_copy(find_nanogpt(theirs), tmp_path / "copy", 1339, data_root)
    before, after = (theirs / "train.py").read_text(), script.read_text()
    assert [(a, b) for a, b in zip(before.splitlines(), after.splitlines(), strict=True) if a != b] == [
        (SEED_LINE, "torch.manual_seed(1339 + seed_offset)")
    ]
    copied = {str(path.relative_to(script.parent)) for path in script.parent.rglob("*") if path.is_file()}
    data = {f"data/shakespeare_char/{name}" for name in ("train.bin", "val.bin", "meta.pkl")}
    assert copied == data | {"train.py", "configurator.py", "config/train_shakespeare_char.py"}
    dataset, folder = load_dataset("embedded-tiny"), script.parent / "data" / "shakespeare_char"
    train = np.concatenate([read_shard(path) for path in train_paths(dataset, data_root)])
    assert np.array_equal(np.fromfile(folder / "train.bin", "<u2"), train)
    assert np.array_equal(np.fromfile(folder / "val.bin", "<u2"), read_shard(val_path(dataset, data_root)))
    assert pickle.loads((folder / "meta.pkl").read_bytes()) == {"vocab_size": dataset.vocab_size}


def test_a_checkout_without_its_seed_line_is_refused(theirs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a checkout of nanoGPT"):
        find_nanogpt(tmp_path)
    for text, count in (("torch.manual_seed(7)\n", 0), (SEED_LINE + "\n" + SEED_LINE, 2)):
        (theirs / "train.py").write_text(text)
        with pytest.raises(UserError, match=f"found it {count} times"):
            find_nanogpt(theirs)


def test_the_readme_must_give_exactly_this_command(theirs: Path) -> None:
    readme, command = theirs / "README.md", f"python train.py {' '.join(recipe.ARGUMENTS)}"
    found = []
    for text in (None, f"```sh\n{command}\n```\n", f"{command} --batch_size=1\n"):
        if text is not None:
            readme.write_text(text)
        found.append(recipe.is_documented(find_nanogpt(theirs)))
    assert found == [False, True, False]


def a_run(sitting: int, script: str, seconds: float | None, **more: Any) -> Run:
    given: dict[str, Any] = {
        "sitting": sitting, "script": script, "run_id": f"{sitting}-{script}", "sentence": "so it went",
        "status": "complete" if seconds else "train_failed", "seed": 7, "ranks": 1, "source_sha256": "0" * 64,
        "val_loss": 1.89 if seconds else None, "seconds": seconds, "whole_s": seconds,
    }  # fmt: skip
    ours = {} if script == NANOGPT else {"reached": bool(seconds), "prepare_s": 10.0}
    if script != NANOGPT and seconds:
        ours["whole_s"] = seconds + 10.0
    return Run(**(given | ours | more))


def three_sittings() -> list[Run]:
    times = {NANOGPT: (100.0, 120.0, 110.0), "plain": (5.0, 8.0, 5.0), "ngram": (2.0, 3.0, 2.5)}
    return [a_run(k + 1, name, times[name][k]) for k in range(3) for name in times]


def test_ratios_their_median_and_the_paired_interval() -> None:
    plain, ngram = summarise(three_sittings())
    assert (plain.script, plain.runs, plain.reached, ngram.script) == ("plain", 3, 3, "ngram")
    assert plain.mean_val_loss == pytest.approx(1.89)
    assert plain.ratio is not None and plain.ratio_with_prepare is not None
    assert plain.ratio.each == (20.0, 15.0, 22.0)
    assert plain.ratio.median == 20.0
    logs = np.log([20.0, 15.0, 22.0])
    half = 4.302653 * logs.std(ddof=1) / math.sqrt(3)  # Student's t, two degrees of freedom
    assert plain.ratio.low == pytest.approx(math.exp(logs.mean() - half), rel=1e-6)
    assert plain.ratio.high == pytest.approx(math.exp(logs.mean() + half), rel=1e-6)
    assert plain.ratio_with_prepare.each == (100 / 15, 120 / 18, 110 / 15)
    assert plain.ratio_with_prepare.low == ratio_interval([100, 120, 110], [15, 18, 15]).low


def test_a_sitting_without_either_side_gives_no_ratio_but_counts() -> None:
    runs = [a_run(1, NANOGPT, 100.0), a_run(1, "plain", None), a_run(2, "plain", 5.0), a_run(2, NANOGPT, 90.0)]
    (found,) = summarise([*runs, a_run(3, NANOGPT, None), a_run(3, "plain", 4.0)])
    assert (found.runs, found.reached) == (3, 2)
    assert found.ratio is not None
    assert (found.ratio.each, found.ratio.low, found.ratio.high) == ((18.0,), None, None)
    (alone,) = summarise([a_run(1, "plain", 5.0)])
    assert (alone.ratio, alone.reached) == (None, 1)


@pytest.fixture
def plan(theirs: Path, tmp_path: Path) -> Plan:
    return Plan(
        nanogpt=find_nanogpt(theirs),
        entries=tuple(Entry(name=name, path=tmp_path / f"{name}.py", ranks=1) for name in ("plain", "ngram")),
        track=load_track(str(ROOT / "benchmarks" / "nanogpt")),
        sittings=3,
        only=None,
        iterations=None,
        sandbox="process",
        runs_root=tmp_path / "runs",
    )


def order(plan: Plan) -> list[str]:
    return [f"{sitting}{'N' if entry is None else entry.name[0]}" for sitting, entry in plan.slots()]


def test_sides_alternate_and_every_other_sitting_is_reversed(plan: Plan) -> None:
    assert order(plan) == ["1N", "1p", "1n", "2n", "2p", "2N", "3N", "3p", "3n"]
    assert order(replace(plan, only="ours", sittings=2)) == ["1p", "1n", "2n", "2p"]
    assert order(replace(plan, only="nanogpt")) == ["1N", "2N", "3N"]


MISSED = a_run(3, "ngram", 2.5, reached=False)
FAILED = a_run(3, "ngram", None)


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (a_run(3, "ngram", 2.5), ExitCode.OK),
        (MISSED, ExitCode.MISSED),
        (FAILED, ExitCode.MISSED),
        (a_run(3, NANOGPT, None), ExitCode.MISSED),
        (a_run(3, "ngram", None, status="interrupted"), ExitCode.INTERRUPTED),
        (a_run(3, "ngram", None, status="terminated"), ExitCode.TERMINATED),
        (None, ExitCode.MISSED),
        (a_run(3, "ngram", 2.5, source_sha256="1" * 64), ExitCode.MISSED),
    ],
    ids=["all well", "missed", "failed", "nanoGPT failed", "interrupted", "terminated", "one too few", "edited"],
)
def test_exit_code(plan: Plan, last: Run | None, code: ExitCode) -> None:
    assert outcome(plan, [*three_sittings()[:-1], *([last] if last else [])]) == code


def test_a_reported_run_becomes_a_row(tmp_path: Path) -> None:
    record, log = read_self_timed(REPORTED), tmp_path / "log.txt"
    log.write_text(LOG)
    run = nanogpt_run(1, 1337, record, log)
    assert (run.val_loss, run.status, run.reached, run.ranks) == (1.8983385, "complete", None, 1)
    assert run.seconds == pytest.approx(0.12)
    assert run.iterations == 4
    assert (run.median_iteration_ms, run.busy_cores) == (30.0, 1.924)
    assert run.whole_s == pytest.approx(64.059666093)
    slow = LOG.replace("30.00ms", "90000.00ms").replace("32.00ms", "90000.00ms")
    log.write_text(slow)  # a clock of its own that says more than ours: the smaller counts
    assert nanogpt_run(1, 1337, record, log).seconds == run.whole_s
    log.write_text("lost\n")
    lost = nanogpt_run(1, 1337, record, log)
    assert lost.seconds is None and "one run of nanoGPT" in lost.sentence
    failed = SelfTimedRecord.model_validate(record.model_dump() | {"status": Status.TRAIN_FAILED})
    assert nanogpt_run(1, 1337, failed, log).seconds is None


def test_a_refereed_run_becomes_a_row_and_an_invalid_one_has_no_time() -> None:
    runs = map(read_run, sorted((ROOT / "records" / "nano-2cpu").glob("*/runs/*")))
    record = next(run for run in runs if run.reached_target)
    assert record.phases.train_ns is not None and record.phases.prepare_ns is not None and record.score is not None
    run = our_run(2, "plain", record)
    assert (run.seconds, run.prepare_s) == (record.phases.train_ns / 1e9, record.phases.prepare_ns / 1e9)
    assert run.whole_s == pytest.approx((record.phases.train_ns + record.phases.prepare_ns) / 1e9)
    assert (run.reached, run.val_loss, run.seed) == (True, record.score.val_loss, record.seed)
    harder = record.track.model_copy(update={"target_val_loss": 0.5})
    missed = our_run(2, "plain", record.model_copy(update={"track": harder}))
    assert (missed.reached, missed.seconds) == (False, run.seconds)
    error = {"id": "looks_ahead", "severity": "error", "sentence": "it looks ahead", "expected": "0", "found": "1"}
    accused = our_run(2, "plain", RunRecord.model_validate(record.model_dump() | {"findings": (error,)}))
    assert (accused.reached, accused.seconds) == (False, None)
    assert "it looks ahead" in accused.sentence


def shown(plan: Plan, runs: list[Run]) -> str:
    console = Console(file=io.StringIO(), width=120)
    show(report(plan, heading(plan), runs), runs, console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_tables_show_ratios_and_who_missed(plan: Plan) -> None:
    text = shown(plan, three_sittings())
    assert "111,539 targets, to 1.898 nats: 3 sittings, 20" in text
    assert "20.0x" in text and "3 of 3" in text and "PREPARE" in text
    low = ratio_interval([100, 120, 110], [5, 8, 5])
    assert f"{low.low:.1f} to {low.high:.1f}x" in text
    assert "NOT a command of this checkout" in text and "NOT the one known here" in text
    assert "!" not in text and "TRIAL" not in text
    text = shown(replace(plan, iterations=20), [*three_sittings()[:-1], MISSED])
    assert "1.8900 !" in text and "! sitting 3, ngram: complete: so it went" in text
    assert "2 of 3" in text and "ONLY A TRIAL: 20 iterations" in text


def test_the_report_is_whole_on_disk_after_every_run(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, out, rows = [], tmp_path / "out.json", iter(three_sittings())

    def perform(*_: object) -> Run:
        seen.append(json.loads(out.read_bytes()))
        row = next(rows)
        return row if len(seen) < 5 else replace(row, status="terminated", seconds=None)

    monkeypatch.setattr(against_nanogpt, "perform", perform)
    runs, found = conduct(plan, out)
    assert [len(before["runs"]) for before in seen] == [0, 1, 2, 3, 4]
    assert (len(runs), found["exit_code"]) == (5, 143)  # nothing starts after a signal
    assert json.loads(out.read_bytes()) == json.loads(json.dumps(found))
    assert found["machine"]["torch"] and found["machine"]["cpu_cores"] >= 1
    with pytest.raises(UserError, match="expected to write"):
        conduct(plan, tmp_path / "nowhere" / "out.json")


def test_a_command_that_makes_no_record_is_a_failure() -> None:
    with pytest.raises(RunFailure, match=r"expected a record from `speedrun run missing\.py --json`"):
        front_door(["run", "missing.py", "--json"])


def test_a_signal_is_passed_on_and_the_record_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    ready, program = tmp_path / "ready", tmp_path / "python"
    lines = [
        f"#!{sys.executable}",
        "import pathlib, signal, sys",
        "signal.signal(signal.SIGTERM, lambda *_: (print('{\"run_id\": 1}'), sys.exit(143)))",
        f"pathlib.Path({str(ready)!r}).touch()",
        "signal.pause()",
    ]
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))

    before = signal.getsignal(signal.SIGTERM)

    def interrupt() -> None:
        until(ready.exists, "the command")
        until(lambda: signal.getsignal(signal.SIGTERM) is not before, "somebody who passes signals on")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert front_door([]) == b'{"run_id": 1}\n'
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_scripts_are_named_with_their_ranks(write_submission: Callable[..., Path], tmp_path: Path) -> None:
    script, track = write_submission(tmp_path), load_track(str(ROOT / "benchmarks" / "nanogpt"))
    assert find_entries([str(script)], track) == (Entry(name="submission", path=script, ranks=1),)
    for specs, sentence in (
        ([f"{script}:9"], "ranks for track against-nanogpt"),
        ([str(script), str(script)], "scripts of different names"),
        ([str(tmp_path / "absent.py")], "expected a script"),
    ):
        with pytest.raises(UserError, match=sentence):
            find_entries(specs, track)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_script_is_a_records_with_other_settings(name: str, tmp_path: Path) -> None:
    record, settings = SETTINGS[name]
    theirs, ours = RECORDS / record / "train_gpt.py", write_script(name, tmp_path / "scripts")
    lines = list(zip(theirs.read_text().splitlines(), ours.read_text().splitlines(), strict=True))
    assert [new.split(" = ")[0] for old, new in lines if old != new] == [
        setting for setting in (old.split(" = ")[0] for old, _ in lines) if setting in settings
    ]
    found = runpy.run_path(str(ours))
    assert {setting: found[setting] for setting in settings} == settings


def test_a_setting_that_a_record_does_not_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "plain", (SETTINGS["plain"][0], {"WIDTHS": 1}))
    with pytest.raises(
        ValueError, match=r"expected one line WIDTHS = \.\.\. in the script of 2026-11-22_Muon, found 0"
    ):
        write_script("plain", tmp_path)


def test_data_that_is_not_there_is_one_sentence(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPEEDRUN_DATA", str(tmp_path / "empty"))
    with pytest.raises(SystemExit) as stopped:
        against_nanogpt.main([str(theirs), "--only", "nanogpt", "--dry-run"])
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said.startswith("against_nanogpt: ") and said.count("\n") == 1 and "speedrun data import" in said


MODEL = """
from dataclasses import dataclass
import torch

@dataclass
class GPTConfig:
    block_size: int = 64
    vocab_size: int = 325

class GPT(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.table = torch.nn.Parameter(torch.zeros(config.vocab_size, config.vocab_size))

    def forward(self, idx, targets=None):
        return self.table[idx], None
"""
TRAIN = f"""
import os, sys
import numpy as np
import torch
assert "--device=cpu" in sys.argv
seed_offset = 0
{SEED_LINE}
size = 325
tokens = torch.from_numpy(np.fromfile("data/shakespeare_char/train.bin", "<u2").astype(np.int64))
counts = torch.bincount(tokens[:-1] * size + tokens[1:], minlength=size**2).reshape(size, size)
os.makedirs("out-shakespeare-char")
saved = {{"model": {{"table": (counts + 0.05).log()}}, "model_args": {{"block_size": 64, "vocab_size": size}}}}
torch.save(saved, "out-shakespeare-char/ckpt.pt")
print('''{LOG}''', end="")
"""


@pytest.mark.slow
def test_a_sitting_of_a_trainer_of_its_shape_and_a_script(
    speedrun: Any, theirs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in speedrun.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(recipe, "DATASET", "embedded-tiny")
    monkeypatch.setattr(against_nanogpt, "FOLDER", ROOT / "tests" / "tracks" / "tiny")
    (theirs / "model.py").write_text(MODEL)
    (theirs / "train.py").write_text(TRAIN)
    words = ["--seeds", "1", "--scripts", f"{BIGRAM}:1", "--sandbox", "process", "--json"]
    with pytest.raises(SystemExit) as stopped:
        against_nanogpt.main([str(theirs), *words])
    found = json.loads(capsys.readouterr().out)
    nanogpt, bigram = found["runs"]
    assert stopped.value.code == found["exit_code"] == ExitCode.OK, found["runs"]
    assert (nanogpt["script"], nanogpt["iterations"], nanogpt["seed"]) == (NANOGPT, 4, 1337)
    assert nanogpt["seconds"] == pytest.approx(0.12)
    assert (bigram["script"], bigram["ranks"], bigram["reached"]) == ("bigram", 1, True)
    assert nanogpt["val_loss"] < 6 and bigram["val_loss"] < 6
    ratio, with_prepare = (found["summary"][0][key]["each"] for key in ("ratio", "ratio_with_prepare"))
    assert ratio == [nanogpt["seconds"] / bigram["seconds"]]
    assert with_prepare == [nanogpt["seconds"] / (bigram["prepare_s"] + bigram["seconds"])]
    kept = {path.parent.name for name in ("run.json", "legacy.json") for path in speedrun.runs.glob(f"*/{name}")}
    assert kept == {run["run_id"] for run in found["runs"]}
    assert speedrun.leftovers() == [] and list(speedrun.temporary.glob("against-*")) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_both_sides_really_run(speedrun: Any, write_submission: Callable[..., Path], tmp_path: Path) -> None:
    given = os.environ.get("NANOGPT")
    if not given:
        pytest.skip("needs a checkout that NANOGPT names")
    if not TEXT.is_file():
        pytest.skip(f"tiny Shakespeare's text is not at {TEXT}")
    import_files([TEXT], None, "tinyshakespeare", speedrun.data)
    script, out = write_submission(tmp_path), tmp_path / "out.json"
    arguments = ["--seeds", "1", "--iterations", "20", "--scripts", script, "--runs", speedrun.runs, "--out", out]
    process = speedrun.start(sys.executable, "-m", "benchmarks.against_nanogpt", given, *arguments)
    stdout, stderr = process.communicate(timeout=570)
    found = json.loads(out.read_bytes())
    theirs, ours = found["runs"]
    assert process.returncode == found["exit_code"] == ExitCode.MISSED, stderr  # a uniform guess reaches nothing
    assert (theirs["status"], theirs["seed"], theirs["iterations"]) == ("complete", 1337, 20), stderr
    assert 3 < theirs["val_loss"] < 4
    assert 0 < theirs["seconds"] < theirs["own_s"] < theirs["whole_s"]
    assert ours["val_loss"] == pytest.approx(math.log(65), abs=1e-5)
    assert ours["reached"] is False and ours["prepare_s"] > 0
    assert found["summary"][0]["ratio"]["each"] == [theirs["seconds"] / ours["seconds"]]
    assert "0 of 1" in stdout and "ONLY A TRIAL" in stdout
    assert "[against nanoGPT] 2/2" in stderr
    assert speedrun.leftovers() == []

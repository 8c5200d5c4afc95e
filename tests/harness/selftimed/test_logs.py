"""One log, read whole: the samples of every grammar, multi-run files, and bytes that mean harm."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.selftimed import logs
from harness.selftimed.grammars import GRAMMARS, MODDED_NANOGPT
from harness.selftimed.logs import TrainingLog, file_chunks, read_log
from leaderboard.upstream.embedded import digest, split_source

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = Path(__file__).parent / "samples"
EXPECTED = {  # grammar, runs, step, val_loss (else val_bpb or train_loss), time in ms
    "g1.txt": ("modded-nanogpt-g1", 1, 30, 3.5, 4000),
    "g2.txt": ("modded-nanogpt-g2", 1, 30, 3.5, 4000),
    "g3.txt": ("modded-nanogpt-g3", 1, 30, 3.5, 3000),
    "g3b.txt": ("modded-nanogpt-g3b", 1, 30, 3.5, 3000),
    "g4_two_runs.txt": ("modded-nanogpt-g4", 2, 20, 3.9, 3100),
    "llmc.log": ("llmc-log", 1, 2, 10.4, None),
    "nanogpt.txt": ("nanogpt", 1, 2, 3.2, None),
    "mingpt.txt": ("mingpt", 1, 10, 3.1, None),
    "llmc_python.txt": ("llmc-python", 1, 2, 9.5, None),
    "llmc_cuda.txt": ("llmc-cuda", 1, 2, 9.5, None),
    "llmc_c.txt": ("llmc-c", 1, 2, 4.4, None),
    "parameter_golf.txt": ("parameter-golf", 1, 1000, 2.3, 43700),
    "nanochat.txt": ("nanochat", 1, 250, 1.1002, None),
    "slowrun.txt": ("slowrun", 1, 100, 4.1, None),
}


def read(*parts: bytes) -> TrainingLog:
    return read_log(parts)


def odd(log: TrainingLog) -> set[str]:
    return {oddity.id for oddity in log.oddities}


def test_every_grammar_has_a_sample() -> None:
    assert {grammar for grammar, *_ in EXPECTED.values()} == {grammar.name for grammar in GRAMMARS}
    assert {path.name for path in SAMPLES.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_reads(name: str) -> None:
    log = read_log(file_chunks(SAMPLES / name))
    grammar, runs, step, metric, time_ms = EXPECTED[name]
    last = log.runs[-1].last
    assert log.grammar is not None
    assert (log.grammar.name, len(log.runs), last.step, last.time_ms) == (grammar, runs, step, time_ms)
    values = (last.val_loss, last.val_bpb, last.train_loss)
    assert next(value for value in values if value is not None) == metric
    assert odd(log) <= {"stops-early"}


def test_the_environment_is_what_the_log_says() -> None:
    env = read_log(file_chunks(SAMPLES / "g3b.txt")).environment
    assert (env.gpu, env.gpu_count, env.driver) == ("NVIDIA H100 80GB HBM3", 8, "550.54.15")
    assert (env.python, env.torch, env.cuda, env.triton) == ("3.12.3", "2.10.0+cu128", "12.8", "3.6.0")
    assert env.date == "Fri Jan 16 10:00:00 2026"
    on = read_log(file_chunks(SAMPLES / "g4_two_runs.txt")).environment
    assert (on.gpu, on.gpu_count, on.torch) == ("NVIDIA H200", 4, "2.11.0+cu128")


def test_the_embedded_source_comes_out_and_apart() -> None:
    old, new = (read_log(file_chunks(SAMPLES / name)) for name in ("g1.txt", "g3b.txt"))
    assert old.source.startswith(b"# a sample script")
    assert set(split_source(new.source)) == {"train_gpt.py", "triton_kernels.py"}
    assert split_source(new.source)["train_gpt.py"] == split_source(old.source)["train_gpt.py"]
    assert digest(old.source) == digest(old.source.replace(b"\n", b"  \n") + b"\n\n")
    assert old.peak_memory_mib is None
    assert new.peak_memory_mib == 31361


def test_a_metric_other_than_val_loss_and_a_stop_before_the_last_step() -> None:
    first, second = read_log(file_chunks(SAMPLES / "g4_two_runs.txt")).runs
    assert first.is_complete
    assert not second.is_complete
    at = second.at_step(20)
    assert at is not None
    assert (at.val_loss, at.val_avg_loss, at.val_ema_loss) == (3.9, 3.9, 3.8)
    assert second.at_step(25) is None


@pytest.mark.parametrize("grammars", [GRAMMARS, MODDED_NANOGPT], ids=["all", "modded"])
def test_leaving_training_lines_alone_changes_no_validation(grammars: tuple[logs.Grammar, ...]) -> None:
    for name in ("g1.txt", "g2.txt", "g3.txt", "g3b.txt", "g4_two_runs.txt", "llmc.log"):
        whole, quick = (read_log(file_chunks(SAMPLES / name), grammars, with_training=t) for t in (True, False))
        assert repr([run.validations for run in whole.runs]) == repr([run.validations for run in quick.runs])
        assert whole.grammar == quick.grammar
        assert not any(run.training for run in quick.runs)


@settings(max_examples=30)
@given(st.sampled_from(sorted(EXPECTED)), st.integers(1, 700))
def test_where_the_chunks_end_does_not_matter(name: str, size: int) -> None:
    raw = (SAMPLES / name).read_bytes()
    pieces = [raw[i : i + size] for i in range(0, len(raw), size)]
    assert repr(read_log(pieces)) == repr(read_log([raw]))  # nan is not itself


@settings(max_examples=60)
@given(
    st.lists(st.binary(max_size=80) | st.sampled_from([p.read_bytes() for p in sorted(SAMPLES.iterdir())]), max_size=5)
)
def test_any_bytes_will_do(parts: list[bytes]) -> None:
    log = read_log(parts)
    assert log.size_bytes == sum(map(len, parts))
    assert all(run.validations or run.training for run in log.runs)


VAL = "step:{}/100 val_loss:{} train_time:{}ms step_avg:1.00ms\n"
HONEST = "".join(VAL.format(step, 4 - step / 100, step * 10) for step in range(0, 101, 25)).encode()


def test_a_copied_run_has_the_trace_of_the_original() -> None:
    first, again, other = (read(text).runs[0] for text in (HONEST, b"noise\n" + HONEST, HONEST.replace(b"3.5", b"3.4")))
    assert first.trace_sha256 == again.trace_sha256 != other.trace_sha256


def test_a_result_in_the_source_does_not_count() -> None:
    log = read(b'"""\nstep:1/1 val_loss:0.1 train_time:1ms step_avg:1ms\n"""\n' + b"=" * 100 + b"\n" + HONEST)
    assert len(log.runs) == 1
    assert log.runs[0].last.val_loss == 3.0
    assert odd(log) == {"result-in-source"}


@pytest.mark.parametrize(
    ("forged", "expected"),
    [
        (VAL.format(100, 2.0, 1000), "step-twice"),
        (VAL.format(90, 2.0, 500), "starts-late"),
        ("step:200/200 val_loss:2.0 train_time:2000ms step_avg:1ms\n", "total-changes"),
        (VAL.format(101, "nan", 1100), "loss-not-finite"),
        (VAL.format(100, 3.0, 5), "time-runs-backwards"),
        ("step 5: train loss 1.0, val loss 1.0\n", "mixed-grammars"),
        (VAL.format(99, 3.0, 999).replace("100 ", "90 "), "starts-late"),
        ("\0\n", "nul-bytes"),
        ("\x1b[2J\n", "terminal-escapes"),
    ],
)
def test_what_does_not_fit_is_named(forged: str, expected: str) -> None:
    assert odd(read(HONEST)) == set()
    assert expected in odd(read(HONEST + forged.encode()))


def test_invalid_utf8_is_named_and_read_around() -> None:
    log = read(b"caf\xe9\n" + HONEST)
    assert odd(log) == {"invalid-utf8"}
    assert log.runs[0].last.step == 100


def test_lines_out_of_order_make_other_runs_not_other_results() -> None:
    lines = HONEST.splitlines(keepends=True)
    log = read(b"".join([lines[0], lines[3], lines[1], lines[2], lines[4]]))
    assert [run.last.step for run in log.runs] == [75, 100]
    assert "stops-early" in odd(log)


def filler(megabytes: int, piece: bytes) -> Iterator[bytes]:
    block = piece * (2**20 // len(piece))
    for _ in range(megabytes):
        yield block


def test_one_line_of_a_hundred_megabytes_is_left_out() -> None:
    log = read_log([*filler(100, b"step:"), b"\n", HONEST])
    assert odd(log) == {"long-line"}
    assert log.runs[0].last.val_loss == 3.0


def test_two_hundred_megabytes_are_read_in_bounded_memory() -> None:
    """In a process of its own, which may not take more than 400 MiB above what Python and the imports take."""
    program = """
import resource, sys
from harness.selftimed.logs import read_log, MAX_READINGS
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
line = b"step:%d/9999999 val_loss:3.1 train_time:%dms step_avg:1.00ms\\n"
blocks = (b"".join(line % (i, i) for i in range(start, start + 20_000)) for start in range(0, 400_000, 20_000))
chatter = (b"nothing to see here " * 4 + b"\\n") * 13_000
log = read_log([*blocks, *([chatter] * 190)])
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert sum(len(run.validations) for run in log.runs) == MAX_READINGS
assert log.size_bytes > 200 * 2**20, log.size_bytes
assert "too-many-lines" in {o.id for o in log.oddities}
assert grown < 400 * 1024, grown
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "line", [b"=" * 30_000 + b" " * 30_000 + b"x\n", b"step:1/1 " * 7_000 + b"\n", b"| " * 30_000 + b"\n"]
)
def test_no_line_makes_an_expression_explode(line: bytes) -> None:
    assert read_log([line] * 20 + [HONEST]).runs[0].last.val_loss == 3.0


def test_what_is_no_plain_file_is_one_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(SAMPLES / "g1.txt")
    for name in ("pipe", "link", "nothing", "."):
        with pytest.raises(UserError, match="expected a"):
            list(file_chunks(tmp_path / name))


def speedrun(*argv: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "harness", "log", *argv]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=150)


def test_the_command_shows_draws_and_exports(tmp_path: Path) -> None:
    shown = speedrun(str(SAMPLES / "g1.txt"), "--plot", "--chart", str(tmp_path / "loss.svg"))
    assert shown.returncode == 0, shown.stderr
    assert "leaves out the first 10 steps" in shown.stdout
    assert "8x NVIDIA H100 80GB HBM3" in shown.stdout
    assert any(0x2800 < ord(c) < 0x2900 for c in shown.stdout)
    assert (tmp_path / "loss.svg").read_text().startswith("<svg")
    found = json.loads(speedrun(str(SAMPLES / "g4_two_runs.txt"), "--json").stdout)
    assert found["tier"] == "reported"
    assert [run["last"]["val_loss"] for run in found["runs"]] == [3.5, 3.9]


def test_a_hostile_log_cannot_touch_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m.txt").write_bytes(b"Running Python \x1b[2J\x9b3.12\n" + HONEST + b"\x1b]0;title\x07")
    for argv in ((), ("--plot",), ("--json",)):
        shown = speedrun(str(tmp_path / "a\x1b[31m.txt"), *argv)
        assert shown.returncode == 0
        assert not any((ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 for c in shown.stdout)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("nowhere.txt",), "found No such file"),
        ((str(SAMPLES),), "expected a plain"),
        ((str(SAMPLES / "g1.txt"), "--grammar", "cobol"), "found 'cobol'"),
        ((str(SAMPLES / "g1.txt"), "--chart", "x.pdf"), "found 'x.pdf'"),
    ],
)
def test_a_mistake_is_one_sentence(argv: tuple[str, ...], expected: str) -> None:
    shown = speedrun(*argv)
    assert shown.returncode == 2
    assert expected in shown.stderr
    assert len(shown.stderr.splitlines()) == 1

"""One log, read whole: the samples of every grammar, multi-run files, and bytes that mean harm."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.selftimed import heard, log_text, logs
from harness.selftimed.grammars import GRAMMARS, MODDED_NANOGPT
from harness.selftimed.logs import file_chunks, read_log
from harness.selftimed.training_log import TrainingLog
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
    "parameter_golf_minutes.txt": ("parameter-golf-minutes", 1, 3100, 2.5, None),
    "step_lines.txt": ("step-lines", 1, 200, 4.25, None),
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
    assert log.is_certain == (name != "step_lines.txt")


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


def numbers_of(log: TrainingLog) -> list[object]:
    return [repr((run.validations, run.training, run.later)) for run in log.runs]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_result_that_cannot_be_read_is_counted_in_every_grammar(name: str) -> None:
    """What would be lost is the last result; then the one before it would be taken for the outcome."""
    raw = (SAMPLES / name).read_bytes()
    whole = read_log([raw])
    last = whole.runs[-1].last
    value = next(x for x in (last.val_loss, last.val_bpb, last.train_loss) if x is not None)
    digits = re.escape(f"{value:g}".encode())
    at, end = [m.span(1) for m in re.finditer(rb"(?:[Ll]oss|bpb|BPB|tel):? ?(" + digits + rb"[.0]*)(?![\d.])", raw)][-1]
    for number in (b"***", b"3,27", b"tensor(3.2)"):
        log = read_log([raw[:at] + number + raw[end:]])
        assert "unreadable-results" in odd(log), number
    for number in (b"-nan", b"nan", b"-inf", b"1.#QNAN"):
        log = read_log([raw[:at] + number + raw[end:]])
        assert odd(log) >= {"loss-not-finite"}, number
        assert log.runs[-1].last.step == last.step


def test_a_diverged_run_of_llm_c_is_no_good_one() -> None:
    tail = b"(-nanz)| norm -nan (-nanz)| lr 2.57e-06 | 2501.39 ms | 40.2% bf16 MFU | 209870 tok/s\n"
    log = read(
        b"val loss 11.033154\nstep    1/2 | loss 11.032358 " + tail.replace(b"-nan", b"+nan")
        + b"val loss 3.500000\nstep    2/2 | loss -nan " + tail + b"val loss -nan\n"
    )  # fmt: skip
    assert "loss-not-finite" in odd(log)
    last = log.runs[-1].validations[-1]
    assert (last.step, repr(last.val_loss)) == (2, "nan")


@pytest.mark.parametrize("front", [
    b"[default0]:", b"[rank3]: ", b"0: ", b"2023-03-22 09:30:39,123 - ", b"2026-03-22T09:30:39Z host1 python[77]: ",
    b"\x1b[32m", b" 12%|#2   | 12/99 [00:01<00:09,  9.1it/s]", b" 12%|#2   | 12/99 [00:01<00:09,  9.1it/s]\r", b"> ",
])  # fmt: skip
@pytest.mark.parametrize("name", EXPECTED)
def test_what_stands_before_every_line_is_left_out_and_named(name: str, front: bytes) -> None:
    raw = (SAMPLES / name).read_bytes()
    plain, log = read_log([raw]), read_log([b"".join(front + line for line in raw.splitlines(keepends=True))])
    if name.startswith(("g", "llmc.log")) and plain.source:  # the source has it in front too, and is none
        assert [run.last.step for run in log.runs] == [run.last.step for run in plain.runs]
    else:
        later = [[(r.val_loss, r.val_bpb) for r in run.later] for run in log.runs]
        assert later == [[(r.val_loss, r.val_bpb) for r in run.later] for run in plain.runs]
        assert repr([(r.validations, r.training) for r in log.runs]) == repr(
            [(r.validations, r.training) for r in plain.runs]
        )
    names = {b"\x1b": "terminal-escapes", b" ": "progress-bars" if front.endswith(b"\r") else None}
    expected = names.get(front[:1], "prefix")
    assert expected is None or expected in odd(log)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", EXPECTED)
def test_another_encoding_is_named_and_read(name: str, encoding: str) -> None:
    raw = (SAMPLES / name).read_bytes()
    text = raw.decode().replace("\n", "\r\n").encode(encoding)
    log = read_log([text[i : i + 13] for i in range(0, len(text), 13)])
    assert numbers_of(log) == numbers_of(read_log([raw]))
    assert odd(log) - odd(read_log([raw])) == {"byte-order-mark" if "8" in encoding else encoding[:6]}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_log_that_is_cut_off_anywhere_never_says_another_number(name: str) -> None:
    raw = (SAMPLES / name).read_bytes()

    def all_of(log: TrainingLog) -> list[tuple[object, ...]]:
        points = [p for run in log.runs for p in (*run.validations, *run.training)]
        return [(p.step, x) for p in points for x in (p.val_loss, p.val_bpb, p.train_loss) if x is not None]

    known = set(map(repr, all_of(read_log([raw]))))
    for at in [*range(1, len(raw), 13), *range(max(1, len(raw) - 160), len(raw))]:
        said = set(map(repr, all_of(read_log([raw[:at]]))))
        assert said <= known, raw[max(0, at - 80) : at]


RULE = b"=" * 60 + b"\ntrain_gpt.py FAILED\n" + b"-" * 60 + b"\n"


def test_a_banner_of_torchrun_is_no_end_of_a_source() -> None:
    for text in (HONEST + RULE, b"=" * 60 + b"\nlaunching\n" + HONEST + RULE, b"import os\n" + HONEST + RULE):
        log = read(text)
        assert [run.last.val_loss for run in log.runs] == [3.0]
        assert log.source == b""


def test_two_parallel_ranks_are_one_run() -> None:
    lines = HONEST.splitlines(keepends=True)
    log = read(b"".join(b"[default%d]:" % rank + line for line in lines for rank in (1, 0)))
    assert [(len(run.validations), run.last.val_loss) for run in log.runs] == [(5, 3.0)]
    assert odd(log) == {"prefix", "several-ranks"}
    assert log.rank == b"[default0]:"


def test_lines_with_something_else_in_front_are_told() -> None:
    log = read(HONEST + b"copied: " + VAL.format(100, 2.0, 1000).encode())
    assert log.runs[-1].last.val_loss == 3.0
    assert odd(log) == {"other-prefix"}


def test_what_comes_behind_the_last_step_is_kept_with_its_run() -> None:
    log = read(
        b"step:0/20000 val_loss:6.9357 val_bpb:4.1077 train_time:0ms step_avg:0.02ms\n"
        b"some_eval val_loss:5.0 val_bpb:3.0\n"
        b"step:13780/20000 val_loss:2.0606 val_bpb:1.2172 train_time:600038ms step_avg:43.54ms\n"
        b"stopping_early: wallclock_cap train_time:600038ms step:13780/20000\n"
        b"final_int8_zlib_roundtrip val_loss:2.0727 val_bpb:1.2244 eval_time:1401ms\n"
    )
    assert odd(log) == set()  # the clock is the budget: to stop before the last step is no oddity
    assert [(r.label, r.val_loss, r.val_bpb) for r in log.runs[0].later] == [
        ("final_int8_zlib_roundtrip", 2.0727, 1.2244)
    ]
    killed = read(b"step:0/20000 val_loss:6.9357 val_bpb:4.1077\nstep:90/20000 val_loss:5.0 val_bpb:3.1\n")
    assert odd(killed) == {"stops-early"}


def test_a_sweep_in_one_file_is_several_runs_and_epochs_are_one() -> None:
    train, val = "step %05d/00003 (0.00%%) | loss: %d.0 | dt: 9.00ms\n", "Step %05d | Validation bpb: %d.5000\n"
    sweep = "".join(train % (n, 5) for n in range(3)) + val % (3, 1)
    assert [run.last.val_bpb for run in read((sweep + sweep.replace("1.5", "2.5")).encode()).runs] == [1.5, 2.5]
    epochs = "".join("".join(train % (n, 5) for n in range(3)) + val % (3 * epoch, 1) for epoch in (1, 2, 3))
    assert [len(run.validations) for run in read(epochs.encode()).runs] == [3]


def test_a_trainer_is_certain_only_by_lines_that_no_other_writes() -> None:
    shared = b"step 00001 (0.00%) | loss: 10.8 | dt: 90.00ms\n"
    assert not read(shared).is_certain
    for line, name in (
        (b"Step 00100 | Val BPB: 1.25\n", "slowrun"),
        (b"Step 00100 | Validation bpb: 1.25\n", "nanochat"),
    ):
        log = read(shared + line)
        assert log.grammar is not None
        assert (log.grammar.name, log.is_certain) == (name, True)
    assert not read(b"val loss 3.2\n").is_certain


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


def test_a_pointer_of_git_lfs_is_no_log_and_named() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    for text in (pointer, b"\xef\xbb\xbf" + pointer.replace(b"\n", b"\r\n")):
        assert "lfs-pointer" in odd(read(text))


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
from harness.selftimed.heard import FIRST_LINES
from harness.selftimed.logs import read_log
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
line = b"step:%d/9999999 val_loss:3.1 train_time:%dms step_avg:1.00ms\\n"
blocks = (b"".join(line % (i, i) for i in range(start, start + 20_000)) for start in range(0, 400_000, 20_000))
chatter = (b"nothing to see here " * 4 + b"\\n") * 13_000
log = read_log([*blocks, *([chatter] * 190)])
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert FIRST_LINES < len(log.runs[0].validations) < 400_000
assert log.runs[0].last.step == 399_999
assert log.size_bytes > 200 * 2**20, log.size_bytes
assert [o.id for o in log.oddities][:1] == ["too-many-lines"]
assert grown < 400 * 1024, grown
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_beyond_what_is_kept_the_last_results_are_heard_and_all_validations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heard, "FIRST_LINES", 100)
    monkeypatch.setattr(heard, "LATE_BYTES", 4_000)
    monkeypatch.setattr(log_text, "MAX_SOURCE_BYTES", 1_000)
    train = [f"step:{n}/9999 train_time:{n}ms step_avg:1.00ms\n" for n in range(10_000)]
    for n in range(0, 10_000, 1_111):
        train[n] += VAL.format(n, 11 - n / 1_111, n).replace("/100 ", "/9999 ")
    log = read_log([line.encode() for line in train])
    assert [point.step for point in log.runs[0].validations] == list(range(0, 10_000, 1_111))
    assert log.runs[0].training[-1].step == 9_999
    assert odd(log) == {"too-many-lines"}
    assert len(log.runs[0].training) < 300


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
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=600)


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

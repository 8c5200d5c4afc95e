"""The grammars: what each kind of line says, and that no line at all says anything else."""

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.selftimed.candidates import HINT, result_lines
from harness.selftimed.fronts import rank_span, shape
from harness.selftimed.grammars import BY_NAME, GRAMMARS, MODDED_NANOGPT, Reading, forms, literals, read_line
from harness.selftimed.lines import LATER_LITERALS, Found, LaterResult, read_later

EVERY_FORM = forms(GRAMMARS)
LINES = {  # one line per kind, with what it says
    b"s:19560 tel:3.2722": {"step": 19560, "val_loss": 3.2722},
    b"s:19559 trl:3.2617 lr:0.000000 norm:0.22": {"step": 19559, "train_loss": 3.2617},
    b"s:9535 trl:3.340180": {"step": 9535, "train_loss": 3.34018},
    b"step:620/620 train_loss:3.2533 train_time:133906ms step_avg:216.33ms": {
        "step": 620, "total": 620, "train_loss": 3.2533, "time_ms": 133906.0, "avg_ms": 216.33,
    },
    b"step:620/620 val_loss:3.2785 train_time:133906ms step_avg:216.33ms": {
        "step": 620, "total": 620, "val_loss": 3.2785, "time_ms": 133906.0, "avg_ms": 216.33,
    },
    b"step:148/148 train_time:23677ms step_avg:161.07ms": {
        "step": 148, "total": 148, "time_ms": 23677.0, "avg_ms": 161.07,
    },
    b"step:325/325 val_loss:3.27722 train_time:503.169s step_avg:155.25ms": {
        "step": 325, "total": 325, "val_loss": 3.27722, "time_ms": 503169.0, "avg_ms": 155.25,
    },
    b"step:1/312 train_time:5.792s step_avg:5792.30ms": {
        "step": 1, "total": 312, "time_ms": 5792.0, "avg_ms": 5792.3,
    },
    b"step:269/290 val_loss:3.28208 val_avg_loss:3.28207 val_ema_loss:3.27795 train_time:99.996s step_avg:1.15ms x:1": {
        "step": 269, "total": 290, "val_loss": 3.28208, "val_avg_loss": 3.28207, "val_ema_loss": 3.27795,
        "time_ms": 99996.0, "avg_ms": 1.15,
    },
    b"step:9/9 val_loss:2.3 val_bpb:1.36 train_time:437ms step_avg:43.70ms": {
        "step": 9, "total": 9, "val_loss": 2.3, "val_bpb": 1.36, "time_ms": 437.0, "avg_ms": 43.7,
    },
    b"step 250: train loss 1.9000, val loss 2.0000": {"step": 250, "train_loss": 1.9, "val_loss": 2.0},
    b"iter 7: loss 1.9, time 20.50ms, mfu -100.00%": {"step": 7, "train_loss": 1.9, "step_ms": 20.5},
    b"iter_dt 105.25ms; iter 10: train loss 3.1": {"step": 10, "train_loss": 3.1, "step_ms": 105.25},
    b"step    3/9 | train loss 9.3 | norm 7.0000 | lr 1.00e-04 | (901.00 ms | 4546 tok/s)": {
        "step": 3, "total": 9, "train_loss": 9.3, "step_ms": 901.0,
    },
    b"step    3/9 | loss 9.8 (+0.10z)| norm 8.00 (-0.20z)| lr 1.00e-04 | 79.00 ms | 45.0% bf16 MFU | 65 tok/s": {
        "step": 3, "total": 9, "train_loss": 9.8, "step_ms": 79.0,
    },
    b"step 3: train loss 4.3 (took 1200.000000 ms)": {"step": 3, "train_loss": 4.3, "step_ms": 1200.0},
    b"val loss 4.4": {"val_loss": 4.4},
    b"Step 00250 | Validation bpb: 1.1002": {"step": 250, "val_bpb": 1.1002},
    b"step 00001/21400 (0.00%) | loss: 10.8 | lrm: 1.00 | dt: 510.25ms | tok/sec: 1,027": {
        "step": 1, "total": 21400, "train_loss": 10.8, "step_ms": 510.25,
    },
    b"Step 00100 | Val BPB: 1.25 | Val Loss: 4.1": {"step": 100, "val_bpb": 1.25, "val_loss": 4.1},
    b"step 00001 (0.00%) | loss: 10.8 | dt: 90.00ms": {"step": 1, "train_loss": 10.8, "step_ms": 90.0},
    # two fields decide: what else stands on a line, or does not, is no reason to lose them
    b"step:5/9 val_loss:3.0": {"step": 5, "total": 9, "val_loss": 3.0},
    b"step:5/9 val_loss:3.0 train_time:0xms step_avg:?": {"step": 5, "total": 9, "val_loss": 3.0},
    b"step:50000/50000 val_loss:2.9692 val_bpb:1.1497 train_time:7763355ms": {
        "step": 50000, "total": 50000, "val_loss": 2.9692, "val_bpb": 1.1497, "time_ms": 7763355.0,
    },
    b"step:5/9 loss:3.25 t:1200ms avg:240.0ms": {
        "step": 5, "total": 9, "train_loss": 3.25, "time_ms": 1200.0, "avg_ms": 240.0,
    },
    b"0/20000 val_loss: 8.3184 val_bpb: 3.6155": {"step": 0, "total": 20000, "val_loss": 8.3184, "val_bpb": 3.6155},
    b"1/20000 train_loss: 8.3199 train_time: 0.5m tok/s: 8450620": {
        "step": 1, "total": 20000, "train_loss": 8.3199, "time_ms": 30000.0,
    },
    b"Step 01000 | Val BPB: 1.105793 | Val Loss: 3.212000 | eval iters: 2 | train iters: 2": {
        "step": 1000, "val_bpb": 1.105793, "val_loss": 3.212,
    },
    b"Step 01680 | Validation bpb: 0.978747 | val_loss: 3.173527": {
        "step": 1680, "val_bpb": 0.978747, "val_loss": 3.173527,
    },
    b"iter 7: loss 1.9": {"step": 7, "train_loss": 1.9},
    b"step 200: val loss 1.6379": {"step": 200, "val_loss": 1.6379},
    b"step 200/900 | val_loss: 1.6379": {"step": 200, "total": 900, "val_loss": 1.6379},
    b"Step 200, Val Loss: 1.6379": {"step": 200, "val_loss": 1.6379},
    b"Step   200 - val_loss:1.6379 best": {"step": 200, "val_loss": 1.6379},
}  # fmt: skip
CHATTER = (
    b'print(f"step:{step}/{total} val_loss:{loss:.4f} train_time:{ms:.0f}ms step_avg:{avg:.2f}ms")',
    b"timestep:1/1 val_loss:3.0 train_time:1ms step_avg:1ms",
    b"best val loss 3.0",
    b"step 5: saving a checkpoint",
    b"val_loss: 3.1",
    b"",
)
UNREADABLE = (  # a number that stands where the loss belongs
    b"0x3", b"3,27", b"3.2.1", b"tensor(3.2)", b"None", b"-", b"", b"3.2e", b"9" * 40, b"1.#QNAX", b"***", b"3_1",
)  # fmt: skip
LOSS_AT = re.compile(rb"(?:(?:[vV]al|train|tel|trl)[_ ]?(?:[lL]oss)?|loss|bpb|BPB):? ?(-?[0-9][0-9.]*)")


def said(reading: Reading) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(reading).items() if value is not None}


def read(line: bytes) -> Found | None:
    return read_line(line, EVERY_FORM)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.decode()[:40])
def test_a_line_says_what_it_says(line: bytes) -> None:
    found = read(line)
    assert found is not None
    assert found.reading is not None
    assert (said(found.reading), found.prefix, found.in_part) == (LINES[line], b"", False)


@pytest.mark.parametrize("line", CHATTER, ids=lambda line: line.decode()[:40])
def test_chatter_says_nothing(line: bytes) -> None:
    assert read(line) is None


@pytest.mark.parametrize("number", UNREADABLE, ids=lambda line: line.decode()[:12])
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.decode()[:40])
def test_a_line_that_begins_like_a_result_and_holds_none_is_not_chatter(line: bytes, number: bytes) -> None:
    at = LOSS_AT.search(line)
    if at is None:
        assert b"train_time" in line  # a line of times only
        return
    found = read(line[: at.start(1)] + number + line[at.end(1) :])
    assert found is not None
    assert found.reading is None or found.in_part


@pytest.mark.parametrize(
    ("number", "value"),
    [(b"nan", "nan"), (b"-nan", "nan"), (b"NaN", "nan"), (b"-nan(ind)", "nan"), (b"1.#QNAN", "nan"),
     (b"-1.#IND00", "nan"), (b"inf", "inf"), (b"-inf", "-inf"), (b"Infinity", "inf"), (b"1.#INF", "inf"),
     (b"-1.#INF", "-inf"), (b"3e2", "300.0"), (b"+3.", "3.0"), (b".5", "0.5")],
)  # fmt: skip
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.decode()[:40])
def test_every_language_s_infinities_are_heard(line: bytes, number: bytes, value: str) -> None:
    at = LOSS_AT.search(line)
    if at is None:
        return
    found = read(line[: at.start(1)] + number + line[at.end(1) :])
    assert found is not None
    assert found.reading is not None
    assert value in {str(heard) for heard in said(found.reading).values()}


FRONTS = {
    b"[default0]:": b"[default#]:",
    b"[rank3]: ": b"[rank#]: ",
    b"0: ": b"#: ",
    b"[1,0]<stdout>: ": b"[#,#]<stdout>: ",
    b"2023-03-22 09:30:39 ": b"#-#-# #:#:# ",
    b"[2023-03-22T09:30:39.123] INFO ": b"[#-#-#T#:#:#.#] INFO ",
    b"Mar 22 09:30:39 host python[123]: ": b"Abc # #:#:# host python[#]: ",
    b" 12%|#2   | 12/99 [00:01<00:09,  9.1it/s]": b"",
    b"100%|\xe2\x96\x88| 9/9 [00:01<00:00]": b"",
    b"\x1b[32m": b"",
    b"\xef\xbb\xbf": b"",
    b"  ": b"  ",
    b"1776143501.933 ": b"#.# ",
}


@pytest.mark.parametrize("front", FRONTS, ids=lambda front: repr(front)[2:20])
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.decode()[:40])
def test_what_stands_before_a_result_does_not_hide_it(line: bytes, front: bytes) -> None:
    found = read(front + line)
    if line.startswith(b"val loss") and front.endswith(b"INFO "):
        assert found is None  # a bare `val loss` behind a word is a sentence
        return
    assert found is not None
    assert found.reading is not None
    assert said(found.reading) == LINES[line]
    assert shape(found.prefix) == FRONTS[front]


def test_ranks_are_told_from_stamps_and_epochs() -> None:
    fronts = (b"[default12]:", b"3: ", b"12:30:01 [rank0]: ", b"trainer-1  | ")
    assert [front[rank_span(front)] for front in fronts] == [b"[default12]:", b"3:", b"[rank0]:", b""]
    assert [front[rank_span(front)] for front in (b"", b"2023-03-22 09:30:39 ", b"Epoch 3: ", b"loss at 3: ")] == [
        b""
    ] * 4


@pytest.mark.parametrize(
    ("line", "label", "val_loss", "val_bpb"),
    [
        (b"final_int8_zlib_roundtrip val_loss:2.0727 val_bpb:1.2244 eval_time:1401ms", "final_int8_zlib_roundtrip",
         2.0727, 1.2244),
        (b"[default0]:ttt:done val_loss=1.88 val_bpb=1.11 elapsed=409.8s", "ttt:done", 1.88, 1.11),
        (b"EMA Val BPB: 1.0100 | EMA Val Loss: 3.1000 | iters: 8", "EMA", 3.1, 1.01),
        (b"Ckpt avg Val BPB: 1.01 | Val Loss: 3.2 | iters: 8", "Ckpt avg", 3.2, 1.01),
        (b"Min val BPB: 1.106971", "Min", None, 1.106971),
        (b"Minimum validation loss (nats/byte): 3.17", "Minimum", 3.17, None),
        (b"Final Validation BPB for base: 0.9787", "Final", None, 0.9787),
        (b"wandb: best_val_loss 3.4", "wandb: best", 3.4, None),
    ],
)  # fmt: skip
def test_a_later_result_has_a_name(line: bytes, label: str, val_loss: float | None, val_bpb: float | None) -> None:
    assert any(literal in line for literal in LATER_LITERALS)
    assert read_later(line) == LaterResult(label, val_loss, val_bpb)


@pytest.mark.parametrize("line", [b"  val_loss_every: 4000", b"val_bpb:enabled tokenizer=x", b"val_loss improved", b""])
def test_a_setting_is_no_later_result(line: bytes) -> None:
    assert read_later(line) is None


def test_every_form_of_the_table_has_a_line_above() -> None:
    used = {found.line for line in LINES if (found := read(line))}
    assert used == set(EVERY_FORM)


def test_the_table_is_consistent() -> None:
    fields = {field.name for field in dataclasses.fields(Reading)} | {"time_s", "time_min"}
    assert len(BY_NAME) == len(GRAMMARS)
    for grammar in GRAMMARS:
        for line in grammar.lines:
            assert line.literal.strip()
            assert line.pattern.pattern.startswith(re.escape(line.anchor))
            for pattern in (line.pattern, *(tail.pattern for tail in line.tail)):
                assert set(pattern.groupindex) <= fields
            assert not line.needs or line.needs in line.tail[0].pattern.groupindex
    assert {grammar.tried for grammar in MODDED_NANOGPT} == {"real logs"}
    assert set(literals(GRAMMARS, with_train=False)) < set(literals(GRAMMARS, with_train=True))


@given(
    step=st.integers(0, 10**9), total=st.integers(1, 10**9), loss=st.integers(0, 10**6), ms=st.integers(0, 10**10),
)  # fmt: skip
def test_numbers_survive(step: int, total: int, loss: int, ms: int) -> None:
    line = f"step:{step}/{total} val_loss:{loss / 1e4:.4f} train_time:{ms}ms step_avg:{ms / 10:.2f}ms"
    found = read_line(line.encode(), forms(MODDED_NANOGPT))
    assert found is not None
    assert found.reading is not None
    assert (found.reading.step, found.reading.total, found.reading.time_ms) == (step, total, float(ms))
    assert found.reading.val_loss == loss / 1e4


LATER = b"final_int8_zlib_roundtrip val_loss:2.0727 val_bpb:1.2244 eval_time:1401ms"
SOME_FRONTS = st.sampled_from([b"", b"[default0]:", b"\x1b[32m", b"2026-03-22 09:30:39 ", b"Min ", b"|", b"a"])


@given(st.sampled_from([*LINES, *CHATTER, LATER]), SOME_FRONTS, st.integers(0, 99), st.binary(max_size=3))
def test_whatever_is_heard_of_a_line_its_hint_is_found(line: bytes, front: bytes, at: int, noise: bytes) -> None:
    damaged = (front + line[:at] + noise + line[at + len(noise) :]).replace(b"\n", b"")
    if read(damaged) is not None or read_later(damaged) is not None:
        assert HINT.search(damaged), damaged
        wanted = (*literals(GRAMMARS, with_train=True), *LATER_LITERALS)
        is_wanted = any(literal in damaged for literal in wanted)
        block = b"loss\n" + damaged + b"\nstep:\n"
        assert list(result_lines(block, wanted)) == [damaged] * is_wanted


@given(st.binary(max_size=300))
def test_no_line_is_a_mistake(line: bytes) -> None:
    read_line(line, EVERY_FORM)


@given(st.sampled_from(list(LINES)), st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_a_damaged_line_is_read_or_left_but_never_worse(line: bytes, at: int, noise: bytes) -> None:
    damaged = line[:at] + noise + line[at + 1 :]
    found = read_line(damaged, EVERY_FORM)
    if found is not None and found.reading is not None:
        assert all(isinstance(value, int | float) for value in said(found.reading).values())


def test_a_mark_is_found_in_its_generation_only() -> None:
    marks = {grammar.name: grammar.mark for grammar in MODDED_NANOGPT if grammar.mark}
    assert set(marks) == {"modded-nanogpt-g1", "modded-nanogpt-g2", "modded-nanogpt-g3b"}
    text = b"step:0/9 val_loss:11.0 train_time:0ms step_avg:nanms\n"
    assert [name for name, mark in marks.items() if re.search(mark, text)] == ["modded-nanogpt-g2"]

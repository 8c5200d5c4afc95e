"""The grammars: what each kind of line says, and that no line at all says anything else."""

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.selftimed.grammars import BY_NAME, GRAMMARS, MODDED_NANOGPT, Reading, forms, literals, read_line

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
}  # fmt: skip
CHATTER = (
    b'print(f"step:{step}/{total} val_loss:{loss:.4f} train_time:{ms:.0f}ms step_avg:{avg:.2f}ms")',
    b" step:1/1 val_loss:3.0 train_time:1ms step_avg:1ms",
    b"step:1/1 val_loss:3.0",
    b"step:1/1 val_loss:-3.0 train_time:1ms step_avg:1ms",
    b"step:1/1 val_loss:0x3 train_time:1ms step_avg:1ms",
    b"step:1/1 val_loss:3.0 train_time:1m step_avg:1ms",
    b"step:" + b"9" * 5000 + b"/1 val_loss:3.0 train_time:1ms step_avg:1ms",
    b"val_loss: 3.1",
    b"",
)


def said(reading: Reading) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(reading).items() if value is not None}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.decode()[:40])
def test_a_line_says_what_it_says(line: bytes) -> None:
    found = read_line(line, EVERY_FORM)
    assert found is not None
    assert said(found[1]) == LINES[line]


@pytest.mark.parametrize("line", CHATTER, ids=lambda line: line.decode()[:40])
def test_chatter_says_nothing(line: bytes) -> None:
    assert read_line(line, EVERY_FORM) is None


def test_every_form_of_the_table_has_a_line_above() -> None:
    used = {found[0] for line in LINES if (found := read_line(line, EVERY_FORM))}
    assert used == set(EVERY_FORM)


def test_the_table_is_consistent() -> None:
    fields = {field.name for field in dataclasses.fields(Reading)} | {"time_s"}
    assert len(BY_NAME) == len(GRAMMARS)
    for grammar in GRAMMARS:
        for line in grammar.lines:
            assert line.literal.strip()
            assert set(line.pattern.groupindex) <= fields
    assert {grammar.tried for grammar in MODDED_NANOGPT} == {"real logs"}
    assert set(literals(GRAMMARS, with_train=False)) < set(literals(GRAMMARS, with_train=True))


@given(
    step=st.integers(0, 10**9), total=st.integers(1, 10**9), loss=st.integers(0, 10**6), ms=st.integers(0, 10**10),
)  # fmt: skip
def test_numbers_survive(step: int, total: int, loss: int, ms: int) -> None:
    line = f"step:{step}/{total} val_loss:{loss / 1e4:.4f} train_time:{ms}ms step_avg:{ms / 10:.2f}ms"
    found = read_line(line.encode(), forms(MODDED_NANOGPT))
    assert found is not None
    assert (found[1].step, found[1].total, found[1].time_ms) == (step, total, float(ms))
    assert found[1].val_loss == loss / 1e4


@given(st.binary(max_size=300))
def test_no_line_is_a_mistake(line: bytes) -> None:
    read_line(line, EVERY_FORM)


@given(st.sampled_from(list(LINES)), st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_a_damaged_line_is_read_or_left_but_never_worse(line: bytes, at: int, noise: bytes) -> None:
    damaged = line[:at] + noise + line[at + 1 :]
    found = read_line(damaged, EVERY_FORM)
    assert found is None or all(isinstance(value, int | float) for value in said(found[1]).values())


def test_a_mark_is_found_in_its_generation_only() -> None:
    marks = {grammar.name: grammar.mark for grammar in MODDED_NANOGPT if grammar.mark}
    assert set(marks) == {"modded-nanogpt-g1", "modded-nanogpt-g2", "modded-nanogpt-g3b"}
    text = b"step:0/9 val_loss:11.0 train_time:0ms step_avg:nanms\n"
    assert [name for name, mark in marks.items() if re.search(mark, text)] == ["modded-nanogpt-g2"]

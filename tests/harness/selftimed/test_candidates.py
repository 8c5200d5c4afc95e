"""Candidates of a log: whole blocks at once say what a slow, plainly right reading of the same lines says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.selftimed import candidates
from harness.selftimed.candidates import HINT, result_lines
from harness.selftimed.fronts import rank_span, shape
from harness.selftimed.grammars import GRAMMARS, forms, literals
from harness.selftimed.heard import Heard
from harness.selftimed.layouts import HeardLine
from harness.selftimed.lines import LATER_LITERALS, read_later, read_line

FORMS = forms(GRAMMARS)
WANTED = (*literals(GRAMMARS, with_train=True), *LATER_LITERALS)
PIECES = st.sampled_from([  # what results are made of, and what is nearly that
    b"step:", b"Step ", b"step ", b"iter ", b"s:", b"12/99", b"7/", b"/7", b"5", b" ", b"\t", b"val_loss:",
    b"val loss ",
    b"VAL_loss=", b"Validation bpb: ", b"validation  loss", b" tel:", b" trl:", b"train_time:", b"loss", b"3.27",
    b"nan(ind)",
    b"1.#QNAN", b"-inf", b"9" * 40, b"?", b"\x1b[1m", b"\x1b]0;", b"\"", b"[default3]:", b"2026-03-22 09:30:39 ", b"ms",
    b" 12%|#2   | 12/99 [00:01<00:09,  9.1it/s]", b"| ", b"(", b") | loss: ", b"\xe2\x82\xac", b"\xff", b"\0",
    b"x" * 2_050,
    b"stopping_early: wallclock_cap", b"val_bpb:1.25", b": train loss 1.0, val loss 2.5",
])  # fmt: skip
LINES = st.lists(PIECES, max_size=9).map(b"".join)
SEEDS = st.sampled_from([
    b"step:5/9 val_loss:3.2 val_bpb:1.2 train_time:17ms step_avg:1.0ms", b"s:5 tel:3.2",
    b"step 5: train loss 1.9, val loss 2.0",
    b"iter 7: loss 1.9, time 20.50ms", b"final_7 val_loss:2.07 val_bpb:1.22", b"0/20000 val_loss: 8.3 val_bpb: 3.6",
    b"val loss 4.4",
])  # fmt: skip


@settings(max_examples=60)
@given(st.lists(LINES | SEEDS | st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")), max_size=8))
def test_a_large_block_has_the_candidates_of_its_lines(lines: list[bytes]) -> None:
    expected = [line for line in lines if HINT.search(line) and any(literal in line for literal in WANTED)]
    for block in (b"\n".join(lines), b"".join(line + b"\n" for line in lines)):
        found = []
        for large in (1, 2**20):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(candidates, "LARGE_BYTES", large)
                found.append(list(result_lines(block, WANTED)))
        assert found == [expected, expected]


@settings(max_examples=60)
@given(st.lists(LINES | SEEDS, min_size=1, max_size=6), st.integers(0, 9), st.integers(0, 9))
def test_what_is_known_of_a_layout_is_what_each_line_says(lines: list[bytes], old: int, new: int) -> None:
    """Each line again with one digit for another: read by its layout, it says what it says alone."""
    lines += [line.replace(b"%d" % old, b"%d" % new) for line in lines]
    expected: list[HeardLine] = []
    for line in lines:
        found = read_line(line, FORMS)
        if found is not None and found.reading is not None:
            rank = found.prefix[rank_span(found.prefix)]
            expected.append(HeardLine(found.line, found.reading, shape(found.prefix), rank))
        elif found is None and (later := read_later(line)) is not None:
            expected.append(HeardLine(None, None, later=later))
    heard = Heard(FORMS, WANTED, WANTED)
    heard._keep(lines)
    assert repr(heard.lines()) == repr(expected)  # nan is not itself

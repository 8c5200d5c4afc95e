"""Candidates of a log: whole blocks at once say what a slow, plainly right reading of the same lines says."""

import itertools

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
from harness.selftimed.logs import LogReader

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


ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
TEXTS = st.lists(st.tuples(LINES | SEEDS, st.sampled_from([b"\n", b"\r\n", b"\r"])), min_size=1, max_size=8)


@settings(max_examples=150)
@given(TEXTS, ENCODINGS, st.lists(st.integers(0, 9_000), max_size=5), st.booleans(), st.integers(0, 2**32))
def test_a_log_cut_anywhere_says_what_its_lines_say_one_by_one(
    lines: list[tuple[bytes, bytes]], encoding: str, cuts: list[int], is_large: bool, noise: int
) -> None:
    """The reader, with its blocks, layouts and decoders, against each line alone, read as if no other had been."""
    text = b"".join(line.replace(b"\xff", b"").replace(b"\0", b"") + end for line, end in [*lines, (b"", b"\n")])
    raw = bytearray(text.decode(errors="replace").encode(encoding))
    if encoding != "utf-8" and noise % 2 and len(raw) > 80:
        raw[64 + noise % (len(raw) - 64)] = noise % 251  # behind what tells the encoding
    borders = sorted({0, len(raw), *(cut % len(raw) for cut in cuts)})
    pieces = [bytes(raw[a:b]) for a, b in itertools.pairwise(borders)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "LARGE_BYTES", 1 if is_large else 2**20)
        reader = LogReader()
        for piece in pieces:
            reader.feed(piece)
        reader.finish()
    is_marked = encoding in ("utf-8-sig", "utf-16", "utf-32")
    if not is_marked and encoding != "utf-8" and "utf-16" not in reader.odd:
        return  # nothing says how it is encoded
    plain = bytes(raw).decode(encoding, "replace").encode().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    expected: list[tuple[object, object]] = []
    for line in plain.split(b"\n"):
        if not HINT.search(line) or not any(literal in line for literal in WANTED):
            continue
        found = read_line(line, FORMS)
        if found is not None and found.reading is not None:
            expected.append((found.reading, shape(found.prefix)))
        elif found is None and (later := read_later(line)) is not None:
            expected.append((later, b""))
    assert repr([(one.reading or one.later, one.shape) for one in reader._heard.lines()]) == repr(expected)

"""The ledger's chain: whatever single thing is changed, it is found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.campaigns import ledger as ledgers
from harness.campaigns.ledger import NO_LINE, ClosedEntry, Writer, digest, encode, open_ledger, read_ledger
from harness.errors import RecordError, UserError
from harness.status import Status

SECRET = bytes(range(32)).hex()  # of the languages of invented campaigns
RUN_IDS = [f"2026-01-02T03-04-05Z-{number:06x}" for number in range(20)]
FUZZ = settings(max_examples=200)


@pytest.fixture(scope="session")
def closed_ledger(make_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Ten attempts, two of which do not count."""
    folder = make_bundle(
        tmp_path_factory.mktemp("ledger") / "campaign",
        baseline_times=(2.2, 2.3, 2.4, 2.5),
        uncounted={1: [Status.INTERRUPTED], 6: [Status.DISK_FULL]},
    )
    return bytes((folder / "ledger.jsonl").read_bytes())


@pytest.fixture
def begun(make_bundle: Any, tmp_path: Path) -> Path:
    """A campaign of two slots, of which nothing has run."""
    folder: Path = make_bundle(tmp_path / "campaign", candidate_times=(1, 2), candidate_losses=(5, 5.1), closed=False)
    path = folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")
    return folder


def is_whole(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    ledger = read_ledger(path)
    return ledger.closed and not ledger.problems


def test_every_entry_continues_the_one_before(closed_ledger: bytes, tmp_path: Path) -> None:
    assert is_whole(tmp_path / "ledger.jsonl", closed_ledger)
    ledger = read_ledger(tmp_path / "ledger.jsonl")
    lines = closed_ledger.split(b"\n")[:-1]
    assert [json.loads(line)["prev"] for line in lines] == [NO_LINE, *map(digest, lines[:-1])]
    assert [encode(entry) for entry in ledger.entries] == lines
    assert ledger.head_sha256 == digest(lines[-1])
    assert len(ledger.attempts) == 10
    assert [outcome.status for _, outcome in ledger.attempts if outcome].count(Status.COMPLETE) == 8


@FUZZ
@given(where=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_a_changed_byte_is_found(closed_ledger: bytes, tmp_path: Path, where: float, mask: int) -> None:
    changed = bytearray(closed_ledger)
    changed[int(where * len(changed))] ^= mask
    assert not is_whole(tmp_path / "ledger.jsonl", bytes(changed))


def test_a_changed_byte_in_the_last_line_is_found(closed_ledger: bytes, tmp_path: Path) -> None:
    """No line follows whose digest would show it: the seal does."""
    start = closed_ledger.rindex(b"\n", 0, -1) + 1
    for place in range(start, len(closed_ledger)):
        changed = bytearray(closed_ledger)
        changed[place] ^= 1
        assert not is_whole(tmp_path / "ledger.jsonl", bytes(changed)), place


def drop(lines: list[bytes], i: int, _: int) -> None:
    del lines[i]


def repeat(lines: list[bytes], i: int, j: int) -> None:
    lines.insert(j, lines[i])


def swap(lines: list[bytes], i: int, j: int) -> None:
    lines[i], lines[j] = lines[j], lines[i]


def truncate(lines: list[bytes], i: int, _: int) -> None:
    del lines[i:]


def blank(lines: list[bytes], i: int, _: int) -> None:
    lines.insert(i, b"")


def respell(lines: list[bytes], i: int, _: int) -> None:
    """The same JSON with a space more."""
    lines[i] = lines[i].replace(b":", b": ", 1)


@FUZZ
@given(st.sampled_from([drop, repeat, swap, truncate, blank, respell]), st.data())
def test_a_line_dropped_repeated_swapped_or_cut_off_is_found(
    closed_ledger: bytes, tmp_path: Path, mutate: Callable[[list[bytes], int, int], None], data: st.DataObject
) -> None:
    lines = closed_ledger.split(b"\n")[:-1]
    i = data.draw(st.integers(0, len(lines) - 1))
    j = data.draw(st.integers(0, len(lines) - 1))
    mutate(lines, i, j)
    changed = b"".join(line + b"\n" for line in lines)
    if changed != closed_ledger:
        assert not is_whole(tmp_path / "ledger.jsonl", changed)


@FUZZ
@given(st.data())
def test_a_changed_field_is_found(closed_ledger: bytes, tmp_path: Path, data: st.DataObject) -> None:
    lines = closed_ledger.split(b"\n")[:-1]
    i = data.draw(st.integers(0, len(lines) - 1))
    entry = json.loads(lines[i])
    key = data.draw(st.sampled_from(sorted(entry)))
    other = json.loads(lines[data.draw(st.integers(0, len(lines) - 1))])
    value = data.draw(st.sampled_from([other.get(key), None, 0, "", "0" * 64, Status.COMPLETE.value, 10**30]))
    if value != entry[key]:
        entry[key] = value
        lines[i] = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        assert not is_whole(tmp_path / "ledger.jsonl", b"".join(line + b"\n" for line in lines))


@FUZZ
@given(st.binary(max_size=300))
def test_bytes_that_are_no_ledger_are_problems_and_never_a_traceback(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(content)
    ledger = read_ledger(path)
    assert ledger.plan is None
    assert not ledger.closed


def test_a_last_line_that_a_crash_has_torn_is_cut_and_the_ledger_goes_on(begun: Path) -> None:
    path = begun / "ledger.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"at":"2026-01-02T')
    assert [problem.id for problem in read_ledger(path).problems] == ["ledger_truncated"]
    with open_ledger(begun) as (ledger, writer):
        assert path.read_bytes() == whole
        writer.attempt(0, RUN_IDS[0])
        assert ledger.torn_bytes == 18
    assert read_ledger(path).problems == ()
    assert len(read_ledger(path).entries) == 2


def test_a_broken_ledger_is_not_continued(begun: Path) -> None:
    path = begun / "ledger.jsonl"
    with open_ledger(begun) as (_, writer):
        writer.attempt(0, RUN_IDS[0])
        writer.outcome(0, RUN_IDS[0], Status.COMPLETE, {})
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], *lines[2:]]))
    with pytest.raises(RecordError, match="start another campaign"), open_ledger(begun):
        pass
    assert path.read_bytes() == b"\n".join([lines[0], *lines[2:]])


def test_one_process_at_a_time(begun: Path) -> None:
    with open_ledger(begun), pytest.raises(UserError, match="another process at work"), open_ledger(begun):
        pass


def test_no_campaign_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"ledger\.jsonl"), open_ledger(tmp_path):
        pass
    with pytest.raises(RecordError):
        read_ledger(tmp_path / "ledger.jsonl")


Steps = list[Callable[[Writer], None]]


def attempt(slot: int, run: int) -> Callable[[Writer], None]:
    return lambda writer: writer.attempt(slot, RUN_IDS[run])


def outcome(slot: int, run: int, status: Status = Status.COMPLETE) -> Callable[[Writer], None]:
    return lambda writer: writer.outcome(slot, RUN_IDS[run], status, {})


def close(attempts: int) -> Callable[[Writer], None]:
    return lambda writer: writer.close(attempts, SECRET)


def resumed(writer: Writer) -> None:
    writer.resumed("again")


FILLED: Steps = [attempt(0, 0), outcome(0, 0), attempt(1, 1), outcome(1, 1)]
IN_ORDER: dict[str, Steps] = {
    "two runs": [*FILLED, close(2)],
    "an attempt repeated": [attempt(0, 9), outcome(0, 9, Status.INTERRUPTED), *FILLED, close(3)],
    "resumed, then settled": [attempt(0, 9), resumed, outcome(0, 9, Status.ABANDONED), resumed, *FILLED, close(3)],
    "a run that failed": [attempt(0, 0), outcome(0, 0, Status.TRAIN_TIMEOUT), *FILLED[2:], close(2)],
    "not over yet": [attempt(0, 0)],
}  # fmt: skip
OUT_OF_ORDER: dict[str, tuple[Steps, str]] = {
    "an outcome without an attempt": ([outcome(0, 0)], "an attempt"),
    "the outcome of another run": ([attempt(0, 0), outcome(0, 1)], "the outcome of"),
    "the outcome of another slot": ([attempt(0, 0), outcome(1, 0)], "the outcome of"),
    "two attempts at once": ([attempt(0, 0), attempt(0, 1)], "the outcome of"),
    "a slot skipped": ([attempt(1, 0)], "slot 0"),
    "a slot filled twice": ([*FILLED[:2], attempt(0, 1), outcome(0, 1)], "slot 1"),
    "a slot left unfilled": ([attempt(0, 0), outcome(0, 0, Status.DISK_FULL), attempt(1, 1)], "slot 0"),
    "a slot more than planned": ([*FILLED, attempt(2, 2)], "slot 2 of 2"),
    "a run twice": ([*FILLED[:2], attempt(1, 0)], "another run id"),
    "closed too early": ([*FILLED[:2], close(1)], "2 filled slots"),
    "closed while running": ([*FILLED[:3], close(2)], "2 filled slots"),
    "attempts forgotten": ([*FILLED, close(1)], "2 attempts"),
    "closed and continued": ([*FILLED, close(2), resumed], "nothing after"),
    "closed twice": ([*FILLED, close(2), close(2)], "nothing after"),
}  # fmt: skip


def write(folder: Path, steps: Steps) -> ledgers.Ledger:
    with open_ledger(folder) as (_, writer):
        for step in steps:
            step(writer)
    return read_ledger(folder / "ledger.jsonl")


@pytest.mark.parametrize("case", IN_ORDER)
def test_what_a_campaign_may_write(begun: Path, case: str) -> None:
    assert write(begun, IN_ORDER[case]).problems == ()


@pytest.mark.parametrize("case", OUT_OF_ORDER)
def test_entries_out_of_order_are_found_though_their_chain_holds(begun: Path, case: str) -> None:
    steps, expected = OUT_OF_ORDER[case]
    problems = write(begun, steps).problems
    assert {problem.id for problem in problems} == {"ledger_order"}
    assert expected in problems[0].expected


def test_a_second_plan_is_out_of_order(begun: Path) -> None:
    plan = read_ledger(begun / "ledger.jsonl").plan
    assert plan is not None
    problems = write(begun, [lambda writer: writer.plan(plan)]).problems
    assert [problem.id for problem in problems] == ["ledger_order"]


def test_the_seal_is_of_the_line_itself(begun: Path) -> None:
    ledger = write(begun, IN_ORDER["two runs"])
    last = ledger.entries[-1]
    assert isinstance(last, ClosedEntry)
    assert last.seal == digest(encode(last.model_copy(update={"seal": ""})))

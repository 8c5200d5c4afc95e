"""Campaigns of self-timed scripts beside the records: handed in whole, derived again, and whatever is done to them."""

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import TypeAdapter

from harness.__main__ import main
from harness.campaigns.campaign import Slot
from harness.cli.json_types import AnySubmitted
from harness.cli.verify import summary
from harness.errors import UserError
from harness.formats import layout
from harness.formats.track import load_track
from harness.records.challenging import attach
from harness.records.manifest import write_manifest
from harness.records.reported import MAX_BYTES, ReportedWords, read_reported, statement_bytes
from harness.records.reporting import draft_reported, write_reported
from harness.records.standings import newest_standing
from harness.records.tree_digest import write_digests
from harness.records.verification import verify_each
from harness.selftimed.record import SelfTimedRecord
from harness.status import Status
from leaderboard.board.board import read_board

SUBMITTED: TypeAdapter[Any] = TypeAdapter(AnySubmitted)
WORDS = ReportedWords(title="Fewer steps", authors=("Ada",), date=date(2026, 1, 3), note="of two")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory, bundles: ModuleType) -> Path:
    """Made once: two runs of two settings, the candidate a fifth faster."""
    folder: Path = bundles.make_stated_bundle(tmp_path_factory.mktemp("stated") / "c", baseline_times=(5.0, 5.05))
    return folder


@pytest.fixture(scope="module")
def handed_in(campaign: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in the folder of its track, made once and never changed."""
    track_dir = tmp_path_factory.mktemp("handed in") / "tiny"
    track_dir.mkdir()
    shutil.copy(campaign / layout.TRACK_FILE, track_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEEDRUN_RECORDS", str(track_dir.parent))
        drafted = draft_reported(campaign, WORDS)
        assert drafted.findings == ()
        write_reported(drafted)
    return drafted.folder


@pytest.fixture
def reported(handed_in: Path, contest: Path) -> Path:
    """A copy of it among records of the test's own."""
    place = contest / layout.REPORTED_DIR / handed_in.name
    shutil.copytree(handed_in, place)
    return place


def errors(path: Path) -> set[str]:
    return {finding.id for report in verify_each([path]) for finding in report.errors}


def test_what_is_handed_in_verifies_and_stands_on_the_board_without_a_place(campaign: Path, reported: Path) -> None:
    track_dir = reported.parent.parent
    write_digests(track_dir.parent)
    assert errors(track_dir.parent) == errors(track_dir) == errors(reported) == set()
    (row,) = read_board(load_track("tiny")).rows
    assert (row.place, row.tier, row.badge) == (None, "reported", "campaign")
    assert (row.runs, row.train_time_s, row.val_loss, row.saving) == (
        2,
        pytest.approx(4.05),
        pytest.approx(5.015),
        None,
    )
    assert row.ratio == pytest.approx(4.05 / 5.025, rel=1e-3)
    assert (row.title, row.authors, row.hardware, row.status) == ("Fewer steps", ("Ada",), "2x CPU core", "complete")
    assert newest_standing([row]) == read_board(load_track("tiny")).held == []
    kept = {path.relative_to(reported).as_posix() for path in reported.rglob("*") if path.is_file()}
    own = {path.relative_to(campaign).as_posix() for path in campaign.rglob("*") if path.is_file()}
    assert kept == own | {"reported.json", "manifest.json"}
    said = read_reported(reported).statement
    assert said is not None
    assert (said.note, said.numbers.wall_s, said.numbers.failed) == ("of two", pytest.approx(6.05), 0)
    text = "\n".join(summary(list(verify_each([reported]))))
    assert "`Fewer steps` by `Ada`, 2026-01-03, tier reported, badge campaign" in text


def reseal(folder: Path) -> None:
    """A new manifest, as whoever forges would make."""
    write_manifest(folder, max_file_bytes=MAX_BYTES)


def _edit(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = sorted(folder.glob(name))[0]
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))

    return edit


def _says(**values: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "reported.json"
        path.write_text(json.dumps(json.loads(path.read_bytes()) | values, indent=1, ensure_ascii=False) + "\n")

    return edit


def _claims_faster(folder: Path) -> None:
    said = read_reported(folder).statement
    assert said is not None
    faster = said.numbers.model_copy(update={"train_time_s": 1.0})
    (folder / "reported.json").write_bytes(statement_bytes(said.model_copy(update={"numbers": faster})))


def _links_a_log(folder: Path) -> None:
    path = next(folder.glob("runs/*/log.txt"))
    outside = folder.parent.parent.parent.parent / "log.txt"
    path.rename(outside)
    path.symlink_to(outside)


def _links_all_runs(folder: Path) -> None:
    outside = folder.parent.parent.parent.parent / "runs elsewhere"
    (folder / "runs").rename(outside)
    (folder / "runs").symlink_to(outside)


def _opens_it(folder: Path) -> None:
    path = folder / "ledger.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


HOSTILE: dict[str, tuple[Callable[[Path], None], set[str], set[str]]] = {
    # what is done to the folder, what is found, and what is still found where its manifest is made anew
    "log edited": (
        _edit("runs/*/log.txt", b"val_loss:5.01", b"val_loss:4.01"),
        {"manifest_altered", "run_digest", "claim_not_in_log"},
        {"run_digest", "claim_not_in_log"},
    ),
    "record edited": (
        _edit("runs/*/legacy.json", b'"val_loss": 5.01', b'"val_loss": 4.01'),
        {"manifest_altered", "run_digest", "claim_not_in_log", "numbers_differ"},
        {"run_digest", "claim_not_in_log", "numbers_differ"},
    ),
    "source edited": (
        _edit("candidate/train.py", b"train", b"brain"), {"manifest_altered", "source_digest"}, {"source_digest"}
    ),
    "log gone": (
        lambda folder: next(folder.glob("runs/*/log.txt")).unlink(),
        {"manifest_missing", "run_missing", "run_edited"},
        {"run_missing", "run_edited"},
    ),
    "statement gone": (
        lambda folder: (folder / "reported.json").unlink(), {"manifest_missing", "statement"}, {"statement"}
    ),
    "numbers edited": (_claims_faster, {"manifest_altered", "numbers_differ"}, {"numbers_differ"}),
    "control characters in the title": (
        _says(title="Fast\x1b[31m"), {"manifest_altered", "statement"}, {"statement"}
    ),
    "statement in another form": (
        _edit("reported.json", b"\n", b"\r\n"),
        {"manifest_altered", "statement"},
        {"statement"},
    ),
    "a higher tier": (_says(tier="refereed"), {"manifest_altered", "statement"}, {"statement"}),
    "another track": (_says(track="nano-2cpu"), {"manifest_altered", "own_track"}, {"own_track"}),
    "a date to come": (_says(date="2999-01-01"), {"manifest_altered", "date_to_come"}, {"date_to_come"}),
    "title edited": (_says(title="Slower"), {"manifest_altered"}, set()),  # only a signature says who said it
    "renamed": (
        lambda folder: folder.rename(folder.with_name("2026-01-02T03-04-05Z-c000000")) and None,
        {"renamed"},
        {"renamed"},
    ),
    "a record in it": (
        lambda folder: (folder / "record.json").write_text("{}") and None, {"manifest_extra"}, {"foreign"}
    ),
    "a link for a log": (_links_a_log, {"not_plain", "manifest_missing"}, set()),
    "a link for all runs": (_links_all_runs, {"not_plain", "manifest_missing"}, set()),
    "open": (_opens_it, {"manifest_altered", "not_closed"}, {"not_closed"}),
    "no ledger": (lambda folder: (folder / "ledger.jsonl").unlink(), {"unreadable"}, {"unreadable"}),
    "a ledger of nothing": (
        lambda folder: (folder / "ledger.jsonl").write_text("") and None, {"unreadable"}, {"unreadable"}
    ),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), {"manifest_unreadable"}, set()),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_whatever_is_done_to_one_is_a_finding_and_takes_its_row(reported: Path, case: str) -> None:
    change, found, still = HOSTILE[case]
    change(reported)
    (folder,) = layout.reported_dirs_of(reported.parent.parent)
    assert errors(folder.parent.parent) == found
    board = read_board(load_track("tiny"))
    assert (len(board.rows), len(board.broken)) == (0, 1)
    assert "\n" not in board.broken[0]
    if not any("link" in word for word in case.split()):
        reseal(folder)
        assert {finding.id for finding in read_reported(folder).errors} == still


def test_a_campaign_told_twice_is_found_however_it_is_named(
    reported: Path, campaign: Path, tmp_path: Path, bundles: ModuleType
) -> None:
    again = draft_reported(campaign, WORDS)
    assert [finding.id for finding in again.errors] == ["place_taken"]
    with pytest.raises(UserError, match="found place_taken"):
        write_reported(again)
    first = {run.seed: run for run in read_reported(reported).runs}

    def told_again(run: SelfTimedRecord, slot: Slot) -> SelfTimedRecord:
        return run.model_copy(update={"points": next(iter(first.values())).points}) if slot.index == 0 else run

    other = bundles.make_stated_bundle(tmp_path / "other", candidate_times=(4.0,), change=told_again)
    assert "copied_run" in {finding.id for finding in draft_reported(other, WORDS).errors}
    reported.with_name("y").symlink_to(campaign)
    assert errors(reported.parent.parent) == {"reported"}
    shutil.copytree(reported, reported.with_name("z"))
    assert {"renamed", "copied_run"} <= errors(reported.parent.parent)


def test_campaigns_that_cannot_stand_there_are_refused_in_a_sentence(
    contest: Path, tmp_path: Path, bundles: ModuleType
) -> None:
    still_open = draft_reported(bundles.make_stated_bundle(tmp_path / "open", closed=False), WORDS)
    assert [finding.id for finding in still_open.errors] == ["not_closed"]
    silent = bundles.make_stated_bundle(
        tmp_path / "silent", change=lambda run, _: run.model_copy(update={"status": Status.TRAIN_FAILED})
    )
    assert [finding.id for finding in draft_reported(silent, WORDS).errors] == ["no_numbers"]
    (contest / layout.REPORTED_DIR).symlink_to(tmp_path)
    whole = bundles.make_stated_bundle(tmp_path / "whole")
    assert [finding.id for finding in draft_reported(whole, WORDS).errors] == ["not_plain"]
    assert errors(contest) == {"reported"}
    (contest / layout.TRACK_FILE).unlink()
    assert "track_unknown" in [finding.id for finding in draft_reported(whole, WORDS).errors]


def test_refereed_campaigns_are_no_reported_ones_and_reported_ones_challenge_nothing(
    contest: Path,
    campaign: Path,
    tmp_path: Path,
    make_bundle: Callable[..., Path],
    make_record: Callable[..., Path],
) -> None:
    native = make_bundle(tmp_path / "native")
    record = make_record(native, "First")
    assert "not_self_timed" in {finding.id for finding in draft_reported(native, WORDS).errors}
    place = contest / layout.REPORTED_DIR / "x"
    shutil.copytree(native, place)
    assert {"not_self_timed", "manifest_unreadable"} <= errors(contest)
    assert [row.tier for row in read_board(load_track("tiny")).rows] == ["refereed"]
    with pytest.raises(UserError, match="timed themselves"):
        attach(record, campaign, author="Ada", day=date(2026, 1, 4), key=None, expected=None, dry_run=True)


def test_signatures_count_as_for_records(contest: Path, campaign: Path, make_key: Callable[..., Path]) -> None:
    key, other = make_key("ada"), make_key("grace")
    public = key.with_suffix(".pub").read_text() if key.suffix else Path(f"{key}.pub").read_text()
    (contest / layout.SIGNERS_FILE).write_text(f"ada {public}")
    assert [finding.id for finding in draft_reported(campaign, WORDS).errors] == ["signature"]
    with pytest.raises(UserError, match="found signature"):
        write_reported(draft_reported(campaign, WORDS, other), other)
    drafted = draft_reported(campaign, WORDS, key)
    assert str(write_reported(drafted, key).signature) == "signed by ada"
    assert errors(contest) == set()
    (row,) = read_board(load_track("tiny")).rows
    assert row.signer is not None
    _says(title="Slower")(drafted.folder)
    write_manifest(drafted.folder, row.signer, max_file_bytes=MAX_BYTES)
    assert errors(contest) == {"signature"}


def test_the_command_says_what_it_does(contest: Path, campaign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def submit(*more: str) -> tuple[Any, str]:
        with pytest.raises(SystemExit) as ended:
            main(["submit", str(campaign), "--title", "Fewer steps", "--author", "Ada", "--date", "2026-01-03", *more])
        printed = capsys.readouterr()
        return ended.value.code, printed.out + printed.err

    code, text = submit("--waive", "x=y")
    assert (code, text.count("\n")) == (2, 1)
    assert "no --waive" in text
    code, text = submit("--title", "a\nb")
    assert (code, text.count("\n")) == (2, 1)
    code, text = submit("--dry-run")
    assert (code, "no place: tier reported, badge campaign" in text, "--dry-run" in text) == (0, True, True)
    assert not (contest / layout.REPORTED_DIR).exists()
    code, text = submit("--json")
    found = json.loads(text)
    SUBMITTED.validate_json(text, strict=False)
    assert (code, found["written"], found["badge"], found["findings"]) == (0, True, "campaign", [])
    assert Path(found["folder"]).is_dir()
    code, text = submit()
    assert (code, "has been handed in already" in text, "nothing was written" in text) == (1, True, True)

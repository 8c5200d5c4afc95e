"""Submitting: whole or not at all, judged, and nothing a stranger wrote reaches the terminal as it is."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.cli.reports import show_diff, show_findings
from harness.cli.submit import next_steps, place_sentence
from harness.errors import UserError
from harness.formats import layout
from harness.formats.run import Finding, RunRecord
from harness.records.environments import lock_bytes
from harness.records.record import Waiver, read_record, read_records
from harness.records.source_changes import FileChange, changes, unified
from harness.records.standings import standings
from harness.records.submitting import Claims, draft, name_of, parent_and_source, write
from harness.records.verification import verify_record, verify_track
from harness.status import Status
from tests.conftest import until

DAY = date(2026, 1, 3)
SLOW, FAST = (2.0, 2.01, 1.99, 2.02), (1.5, 1.51, 1.49, 1.52)
NEW = {"train_gpt.py": "def train(run): ...\ndef load(weights, device): ...\nNEW = 1\n"}
OLD = {"train_gpt.py": "def train(run): ...\ndef load(weights, device): ...\n"}
Make = Callable[..., Path]


def claims(title: str = "A title", **more: Any) -> Claims:
    return Claims(**{"title": title, "authors": ("Ada",), "date": DAY, **more})


def race(make_bundle: Make, folder: Path, baseline: str | None, **more: Any) -> Path:
    """A candidate that is a quarter faster than the first record's source."""
    values: dict[str, Any] = {
        "candidate_times": FAST, "baseline_times": SLOW, "baseline_record": baseline,
        "sources": {"candidate": NEW, "baseline": OLD}, "seed": 7,
    }  # fmt: skip
    return make_bundle(folder, **{**values, **more})


def ids(drafted: Any) -> set[str]:
    return {finding.id for finding in drafted.errors}


def test_a_first_record_holds_everything_and_the_exact_source(
    tmp_path: Path, contest: Path, make_bundle: Make, make_record: Make
) -> None:
    bundle = make_bundle(tmp_path / "bundle", uncounted={1: [Status.INTERRUPTED]})
    folder = make_record(bundle, "Muon, and more!", techniques=("muon",))
    assert folder == contest / "2026-01-03_MuonAndMore"
    assert (folder / "train_gpt.py").read_bytes() == (bundle / "candidate" / "train_gpt.py").read_bytes()
    assert (folder / "ledger.jsonl").read_bytes() == (bundle / "ledger.jsonl").read_bytes()
    assert len(list((folder / "runs").iterdir())) == 5  # the interrupted attempt is evidence too
    assert not (folder / layout.BASELINE_DIR).exists()
    assert b"numpy==2.3.0\ntorch==2.9.0\n" in (folder / layout.LOCK_FILE).read_bytes()
    assert "to be written" in (folder / layout.README_FILE).read_text()
    assert "2.005 ± 0.0" in (folder / layout.README_FILE).read_text()
    record = read_record(folder)
    assert record.statement.techniques == ("muon",)
    assert record.tier == "refereed"
    assert [p.name for p in contest.iterdir() if p.name.startswith(".")] == []


def test_the_second_record_must_have_raced_the_first(tmp_path: Path, make_bundle: Make, make_record: Make) -> None:
    first = make_record(make_bundle(tmp_path / "a"), "First")
    alone = draft(make_bundle(tmp_path / "b", candidate_times=FAST, seed=3), claims("On its own"))
    assert ids(alone) == {"faster_than_parent"}
    other = draft(race(make_bundle, tmp_path / "c", None), claims("Own opponent"))
    assert ids(other) == {"baseline_is_reigning"}
    slower = draft(race(make_bundle, tmp_path / "d", first.name, candidate_times=SLOW, baseline_times=FAST), claims())
    assert "faster_than_parent" in ids(slower)
    good = draft(race(make_bundle, tmp_path / "e", first.name), claims("Good"))
    assert good.findings == ()
    assert good.record.statement.parents == (first.name,)
    row = standings([*good.before, good.record], [])[-1]
    assert place_sentence(row) == "place 2, 24.94% less time than the record before"
    write(good)
    records, broken = read_records("tiny")
    assert ([record.name for record in records], broken) == ([first.name, good.folder.name], [])
    assert not (good.folder / layout.BASELINE_DIR).exists()  # its bytes are the first record's


def test_new_major_rules_open_a_new_standing(
    tmp_path: Path, contest: Path, make_bundle: Make, make_record: Make
) -> None:
    """Its first record needs no race, its second one does; a race against the older record counts for nothing."""
    first = make_record(make_bundle(tmp_path / "a"), "First")
    track_file = contest / layout.TRACK_FILE
    (contest / layout.PAST_RULES_DIR).mkdir()
    track_file.rename(contest / layout.PAST_RULES_DIR / "1.0.toml")
    track_file.write_text(
        (contest / layout.PAST_RULES_DIR / "1.0.toml")
        .read_text()
        .replace('rules_version = "1.0"', 'rules_version = "2.0"')
    )
    assert "track_changed" in ids(draft(make_bundle(tmp_path / "late", seed=9), claims("Too late")))
    raced = draft(race(make_bundle, tmp_path / "b", first.name, track=track_file), claims("Raced the old one"))
    assert ids(raced) == {"baseline_source"}
    alone = draft(make_bundle(tmp_path / "c", track=track_file, candidate_times=FAST, seed=3), claims("Anew"))
    assert alone.findings == ()
    write(alone)
    again = draft(make_bundle(tmp_path / "d", track=track_file, candidate_times=FAST, seed=5), claims("Unraced"))
    assert ids(again) == {"faster_than_parent"}
    builds = draft(
        race(make_bundle, tmp_path / "e", alone.folder.name, track=track_file), claims("On both", parents=(first.name,))
    )
    assert builds.findings == ()
    write(builds)
    reports = [report for report in verify_track(contest) if report.kind == "record"]
    assert {report.path.name: report.predecessor and report.predecessor.name for report in reports} == {
        first.name: None,
        alone.folder.name: None,
        builds.folder.name: alone.folder.name,
    }
    assert [finding.id for report in reports for finding in report.errors] == []


def test_a_baseline_that_only_calls_itself_the_record_is_found_out(
    tmp_path: Path, make_bundle: Make, make_record: Make
) -> None:
    first = make_record(make_bundle(tmp_path / "a"), "First")
    held_back = {"train_gpt.py": OLD["train_gpt.py"] + "import time; time.sleep(1)\n"}
    bundle = race(make_bundle, tmp_path / "b", first.name, sources={"candidate": NEW, "baseline": held_back})
    assert ids(draft(bundle, claims())) == {"baseline_source"}


def test_an_own_baseline_comes_along_on_a_track_without_records(
    tmp_path: Path, make_bundle: Make, make_record: Make
) -> None:
    folder = make_record(race(make_bundle, tmp_path / "b", None), "Raced its own baseline")
    assert (folder / layout.BASELINE_DIR / "train_gpt.py").read_text() == OLD["train_gpt.py"]
    assert verify_record(folder, [])[0].holds


def test_refused_means_nothing_is_written(tmp_path: Path, contest: Path, make_bundle: Make) -> None:
    drafted = draft(make_bundle(tmp_path / "b", candidate_losses=(7.0, 7.1, 7.2, 7.3)), claims())
    assert "significance" in ids(drafted)
    with pytest.raises(UserError, match="nothing written"):
        write(drafted)
    assert [path.name for path in contest.iterdir()] == [layout.TRACK_FILE]


def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, contest: Path, make_bundle: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafted = draft(make_bundle(tmp_path / "b"), claims())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.records.submitting.write_manifest", full)
    with pytest.raises(OSError, match="No space"):
        write(drafted)
    assert [path.name for path in contest.iterdir()] == [layout.TRACK_FILE]


def test_a_bundle_that_was_touched_is_refused(tmp_path: Path, contest: Path, make_bundle: Make) -> None:
    bundle = make_bundle(tmp_path / "b")
    for path in bundle.glob("runs/*/run.json"):
        text = path.read_bytes()
        path.write_bytes(text.replace(b'"train_ns": ', b'"train_ns": 1'))
        assert path.read_bytes() != text
    assert ids(draft(bundle, claims())) >= {"run_digest"}


def test_other_rules_than_the_checkouts_are_refused(
    tmp_path: Path, contest: Path, make_bundle: Make, write_track: Make
) -> None:
    (tmp_path / "easy").mkdir()
    easy = write_track(tmp_path / "easy", target_val_loss=9.0)
    assert ids(draft(make_bundle(tmp_path / "b", track=easy), claims())) == {"track_changed"}
    (contest / layout.TRACK_FILE).write_text("# only a comment\n" + (contest / layout.TRACK_FILE).read_text())
    assert ids(draft(make_bundle(tmp_path / "c"), claims())) == set()


def test_places_and_parents(tmp_path: Path, make_bundle: Make, make_record: Make) -> None:
    first = make_record(make_bundle(tmp_path / "a"), "First")
    bundle = race(make_bundle, tmp_path / "b", first.name)
    assert ids(draft(bundle, claims("First"))) == {"place_taken"}
    assert "date_to_come" in ids(draft(bundle, claims("To come", date=date(2999, 1, 1))))
    assert "order" in ids(draft(bundle, claims("Backdated", date=date(2026, 1, 2))))
    assert ids(draft(bundle, claims(parents=("2026-01-01_Nobody",)))) == {"parent_unknown"}


def test_waivers_need_the_tracks_leave(tmp_path: Path, contest: Path, make_bundle: Make) -> None:
    waiver = Waiver(finding="significance", reason="because it is nearly there, is it not")
    bundle = make_bundle(tmp_path / "b", candidate_losses=(7.0, 7.1, 7.2, 7.3))
    assert ids(draft(bundle, claims(waivers=(waiver,)))) == {"significance", "waiver_refused"}


def test_a_waiver_is_kept_and_shown(tmp_path: Path, contest: Path, make_bundle: Make, write_track: Make) -> None:
    track = write_track(contest, sandbox='"namespaces"', waivable='["sandbox_level"]')
    bundle = make_bundle(tmp_path / "b", track=track, sandbox="process")
    assert ids(draft(bundle, claims())) == {"sandbox_level"}
    waiver = Waiver(finding="sandbox_level", reason="this machine forbids user namespaces")
    drafted = draft(bundle, claims(waivers=(waiver,)))
    report = write(drafted)
    assert report.holds
    assert {entry.reason for entry in report.waived} == {waiver.reason}


def test_a_track_with_signers_wants_a_key(
    tmp_path: Path, make_bundle: Make, make_key: Make, allow: Make, make_record: Make
) -> None:
    allow(ada=make_key("ada"))
    bundle = make_bundle(tmp_path / "b")
    assert ids(draft(bundle, claims())) == {"signature"}
    with pytest.raises(UserError, match="signature"):
        write(draft(bundle, claims(), make_key("bob")), make_key("bob"))
    folder = make_record(bundle, "Signed", make_key("ada"))
    assert read_record(folder).signer is not None
    assert str(verify_record(folder, [])[0].signature) == "signed by ada"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"title": "two\nlines"}, "title"),
        ({"title": "\x1b[31m"}, "title"),
        ({"title": ""}, "title"),
        ({"authors": ()}, "authors"),
        ({"techniques": ("Not A Slug",)}, "techniques"),
        ({"name": "../escape"}, "name"),
        ({"name": "white space"}, "name"),
    ],
)
def test_what_cannot_be_said_is_one_sentence(
    tmp_path: Path, contest: Path, make_bundle: Make, said: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        draft(make_bundle(tmp_path / "b"), claims(**said))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["record.json", "runs/x.py", "README.md", "baseline/x.py"])
def test_source_files_cannot_take_a_records_names(tmp_path: Path, contest: Path, make_bundle: Make, name: str) -> None:
    bundle = make_bundle(tmp_path / "b", sources={"candidate": {**OLD, name: "x = 1\n"}})
    with pytest.raises(UserError, match="rename it"):
        draft(bundle, claims())


def test_a_plain_run_cannot_be_submitted(tmp_path: Path, contest: Path) -> None:
    with pytest.raises(UserError, match="a single run cannot be submitted"):
        draft(tmp_path, claims())


def test_names_come_from_titles() -> None:
    assert name_of("Muon, rotary & value embeddings") == "MuonRotaryValueEmbeddings"
    assert name_of("größer 🚀") == "GrEr"
    assert name_of("🚀") == "Record"
    assert len(name_of("x" * 500)) == 40


def test_the_difference_is_to_the_parents_source(tmp_path: Path, make_bundle: Make, make_record: Make) -> None:
    first = make_record(make_bundle(tmp_path / "a"), "First")
    sources = {"candidate": {**NEW, "extra.py": "a\nb\n"}, "baseline": OLD}
    drafted = draft(race(make_bundle, tmp_path / "b", first.name, sources=sources), claims())
    old, new = parent_and_source(drafted)
    assert "+NEW = 1" in list(unified(old, new))
    assert changes(old, new) == (FileChange("extra.py", 2, 0), FileChange("train_gpt.py", 1, 0))


def rendered(show: Callable[..., None], *arguments: Any) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    show(console, *arguments)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_hostile_text_is_shown_as_text() -> None:
    hostile = "\x1b[2J\x9b31m\u202e[bold red]x[/]"
    finding = Finding(id="x", severity="error", sentence=hostile, expected=hostile, found=hostile)
    for text in (rendered(show_findings, [finding]), rendered(show_diff, {}, {hostile: hostile.encode()})):
        assert not set(text) & {"\x1b", "\x9b", "\u202e"}
        assert "[bold red]x[/]" in text


def test_the_way_to_a_pull_request_is_quoted(tmp_path: Path, contest: Path, make_bundle: Make) -> None:
    steps = next_steps(draft(make_bundle(tmp_path / "b"), claims("it's $(rm -rf ~)", name="Quoted")))
    (commit,) = [line for line in steps if "commit" in line]
    assert commit.strip() == """git commit -m 'Record: it'"'"'s $(rm -rf ~) (tiny)'"""


def test_the_lock_is_sorted_normalised_and_refuses_what_is_no_package(
    tmp_path: Path, contest: Path, make_bundle: Make, make_record: Make
) -> None:
    run: RunRecord = read_record(make_record(make_bundle(tmp_path / "b"), "First")).runs[0]
    packages = {"Zope.Interface": "1.0", "typing_extensions": "4.1+local", "speedrun-referee": "0.1.0"}
    environment = run.environment.model_copy(update={"packages": packages, "cpu_model": "evil\nimport-me==1"})
    text = lock_bytes(environment).decode()
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "typing-extensions==4.1+local", "zope-interface==1.0",
    ]  # fmt: skip
    assert text.encode() == lock_bytes(environment)
    for name, version in (("a b", "1"), ("a", "1 ; os"), ("-r x", "1"), ("a", "1\nb==2")):
        with pytest.raises(UserError, match="packages"):
            lock_bytes(environment.model_copy(update={"packages": {name: version}}))


def test_the_command_refuses_with_one_and_writes_with_zero(
    tmp_path: Path, contest: Path, make_bundle: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer.testing
    from typer import Typer

    from harness.cli.submit import submit

    app, runner = Typer(), typer.testing.CliRunner()
    app.command()(submit)
    bad, good = make_bundle(tmp_path / "bad", candidate_losses=(7.0, 7.1, 7.2, 7.3)), make_bundle(tmp_path / "good")
    common = ["--title", "T", "--author", "Ada", "--date", "2026-01-03", "--json"]
    refused = runner.invoke(app, [str(bad), *common])
    assert (refused.exit_code, json.loads(refused.stdout)["written"]) == (1, False)
    dry = runner.invoke(app, [str(good), *common, "--dry-run"])
    assert (dry.exit_code, json.loads(dry.stdout)["written"]) == (0, False)
    assert [path.name for path in contest.iterdir()] == [layout.TRACK_FILE]
    done = runner.invoke(app, [str(good), *common])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["written"], told["place"], told["findings"], told["signature"]) == (True, 1, [], "unsigned")
    assert Path(told["folder"]).is_dir()
    shown = runner.invoke(app, [str(good), *common[:-1], "--name", "Again"])
    assert shown.exit_code == 1
    assert "faster_than_parent" in shown.stdout


STOPS_BEFORE_THE_RENAME = """
import sys, time
from harness.records import submitting
submitting.sync_tree = lambda folder: time.sleep(600)
sys.argv[0] = "speedrun"
from harness.__main__ import main
main()
"""


def test_what_a_killed_submit_leaves_is_swept_by_the_next_verify_or_submit(
    tmp_path: Path, contest: Path, make_bundle: Make, make_record: Make
) -> None:
    def left() -> list[Path]:
        return list(contest.glob(".submit-*"))

    bundle = make_bundle(tmp_path / "bundle")
    command = ["submit", str(bundle), "--title", "Killed", "--author", "Ada", "--date", str(DAY)]
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", STOPS_BEFORE_THE_RENAME, *command], cwd=layout.ROOT, stdout=subprocess.DEVNULL
        )
        try:
            written = f".submit-*-{process.pid}-*/*/*/{layout.MANIFEST_FILE}"
            until(lambda: list(contest.glob(written)), "a record that is being written")  # noqa: B023
            assert [report.findings for report in verify_track(contest)] == [()]  # it lives: neither foreign nor swept
            assert len(left()) == 1
        finally:
            process.kill()
            process.wait()
    assert len(left()) == 1  # the second submit has swept what the first one left
    assert [report.findings for report in verify_track(contest)] == [()]
    assert left() == []
    make_record(bundle, "Alive")
    assert sorted(path.name for path in contest.iterdir()) == ["2026-01-03_Alive", layout.TRACK_FILE]

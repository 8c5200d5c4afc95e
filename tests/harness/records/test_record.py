"""Records: read with suspicion, in the order of acceptance, and once through the whole path for real."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RecordError
from harness.formats import layout
from harness.records.record import Record, in_order, read_record, read_records
from harness.records.tree_digest import write_digests

ROOT = Path(__file__).resolve().parents[3]
BIGRAM = ROOT / "tests" / "submissions" / "bigram.py"
Make = Callable[..., Path]


# --------------------------------------------------------------------------------------------------- reading


def test_a_record_is_its_runs(tmp_path: Path, make_bundle: Make, make_record: Make) -> None:
    folder = make_record(make_bundle(tmp_path / "b"), "First")
    record = read_record(folder)
    assert record.name == record.statement.name == folder.name
    assert [run.score.val_loss for run in record.runs if run.score] == [5.01, 5.02, 5.0, 5.03]
    assert record.evidence.candidate.n == 4
    assert (record.signer, record.challenges, record.tier) == (None, (), "refereed")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (layout.RECORD_FILE, lambda text: text.replace("{", '{"rank": 1,', 1), "rank"),
        (layout.RECORD_FILE, lambda text: text.replace('"schema_version": 2', '"schema_version": 3'), "schema_version"),
        (layout.RECORD_FILE, lambda text: text.replace("tiny", "huge"), "runs on track tiny"),
        (layout.RECORD_FILE, lambda text: "[" * 100_000, "record.json"),
        (layout.RECORD_FILE, lambda text: text + " " * 2**20, "at most"),
        (layout.LEDGER_FILE, lambda text: text.replace('"seq":2', '"seq":9'), "line 3"),
        ("train_gpt.py", lambda text: text + "\n", "train_gpt.py"),
        (layout.MANIFEST_FILE, lambda text: text + "\n", "canonical"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_record_says_why(
    tmp_path: Path, make_bundle: Make, make_record: Make, name: str, change: Callable[[str], str], message: str
) -> None:
    folder = make_record(make_bundle(tmp_path / "b"), "First")
    (folder / name).write_text(change((folder / name).read_text()))
    with pytest.raises(RecordError, match=message):
        read_record(folder)
    records, broken = read_records("tiny")
    assert records == []
    assert len(broken) == 1


def test_a_file_that_is_gone_or_a_link_is_told(tmp_path: Path, make_bundle: Make, make_record: Make) -> None:
    folder = make_record(make_bundle(tmp_path / "b"), "First")
    for name in (layout.RECORD_FILE, layout.TRACK_FILE, layout.LEDGER_FILE):
        kept = (folder / name).rename(tmp_path / "kept")
        with pytest.raises(RecordError, match="plain"):
            read_record(folder)
        (folder / name).symlink_to(kept)
        with pytest.raises(RecordError):
            read_record(folder)
        (folder / name).unlink()
        kept.rename(folder / name)
    assert read_record(folder).name == folder.name


def test_records_stand_in_the_order_of_acceptance(tmp_path: Path, make_bundle: Make, make_record: Make) -> None:
    """By date; on one day a record after those it builds on, whatever their names are."""
    one = read_record(make_record(make_bundle(tmp_path / "b"), "First"))

    def named(name: str, day: int, *parents: str) -> Record:
        statement = one.statement.model_copy(
            update={"name": name, "date": date(2026, 1, 1) + timedelta(days=day), "parents": parents}
        )
        return replace(one, name=name, statement=statement)

    expected = [named("z", 0), named("y", 1), named("x", 1, "y", "z"), named("a", 1, "x"), named("b", 2, "nobody")]
    rng = random.Random(0)
    for _ in range(20):
        shuffled = rng.sample(expected, len(expected))
        assert [record.name for record in in_order(shuffled)] == ["z", "y", "x", "a", "b"]
    circle = [named("p", 0, "q"), named("q", 0, "p")]
    assert [record.name for record in in_order(circle)] == [record.name for record in in_order(circle[::-1])]
    everything = [named(f"r{i:03}", 0, *(f"r{j:03}" for j in range(i))) for i in range(60)]
    assert in_order(everything[::-1]) == everything


# ------------------------------------------------------------------------------------- the whole path, for real


@pytest.fixture
def world(speedrun: Any, contest: Path, with_seeds: Callable[..., tuple[str, ...]]) -> Callable[..., Any]:
    """world(command, ...): the console command with these records; its JSON, and its exit code asserted."""

    def call(*argv: str | Path, code: int = 0) -> Any:
        made = len(layout.campaign_dirs(speedrun.runs))
        command = with_seeds(*range(1000 * (1 + made), 50_000, 10_007))
        process = speedrun.start(*command, *argv, "--json", SPEEDRUN_RECORDS=str(contest.parent))
        stdout, stderr = process.communicate(timeout=400)
        assert process.returncode == code, stdout + stderr
        return json.loads(stdout)

    return call


def seeded(folder: Path, sleep_s: float = 0.0) -> Path:
    """A bigram that depends on its seed, and sleeps on the clock where it is told to."""
    text = BIGRAM.read_text().replace("100_000), run", "100_000)[run.seed % 50_000:], run")
    text = text.replace("    if run.rank == 0:", f"    time.sleep({sleep_s})\n    if run.rank == 0:")
    assert text.count("run.seed") == 1
    folder.mkdir()
    (folder / "train_gpt.py").write_text(text.replace("import numpy", "import time\n\nimport numpy"))
    return folder / "train_gpt.py"


def campaign(runs: Path) -> Path:
    """The newest one."""
    return layout.campaign_dirs(runs)[-1]


@pytest.mark.slow
def test_from_a_script_to_a_reproduced_record(
    world: Callable[..., Any], speedrun: Any, contest: Path, tmp_path: Path, make_key: Make, allow: Make
) -> None:
    allow(ada=make_key("ada"), bob=make_key("bob"))
    world("run", seeded(tmp_path / "s"), "--track", "tiny", "--runs", "2")
    told = world(
        "submit", campaign(speedrun.runs), "--title", "Seeded bigram", "--author", "Ada", "--key", make_key("ada")
    )
    folder = Path(told["folder"])
    assert (told["written"], told["signature"]) == (True, "signed by ada")
    assert [finding for finding in told["findings"] if finding["severity"] == "error"] == []
    assert (folder / "train_gpt.py").read_bytes() == (tmp_path / "s" / "train_gpt.py").read_bytes()
    write_digests(contest.parent)
    assert world("verify", contest.parent)["holds"]

    world("run", folder / "train_gpt.py", "--track", "tiny", "--runs", "2")
    plain = campaign(speedrun.runs)
    world("run", folder / "train_gpt.py", "--track", "tiny", "--runs", "2", "--relabel")
    labels = campaign(speedrun.runs)
    again = world("challenge", folder, plain, "--relabelled", labels, "--author", "Bob", "--key", make_key("bob"))
    assert (again["kind"], again["tier"]) == ("reproduction", "reproduced")
    assert world("verify", folder)["reports"][0]["tier"] == "reproduced"
    (row,) = world("leaderboard", "--track", "tiny", "--records")["standings"]
    assert (row["tier"], row["signer"], row["runs"]) == ("reproduced", told_signer(world, folder), 2)


@pytest.mark.slow
def test_a_campaign_under_new_major_rules_needs_no_predecessor(
    world: Callable[..., Any], speedrun: Any, contest: Path, tmp_path: Path
) -> None:
    """The same command under 1.x and 2.x: what reigned is marked, verified as ever, and raced by nobody."""
    track_file, past = contest / layout.TRACK_FILE, contest / layout.PAST_RULES_DIR
    world("run", seeded(tmp_path / "s"), "--track", "tiny", "--runs", "2")
    old = world("submit", campaign(speedrun.runs), "--title", "Under one", "--author", "Ada")
    dry = world("compare", tmp_path / "s" / "train_gpt.py", "--track", "tiny", "--runs", "2", "--dry-run")
    assert dry["arms"]["baseline"].startswith(old["name"])
    past.mkdir()
    text = track_file.read_text()
    (past / "1.0.toml").write_text(text)
    track_file.write_text(text.replace('rules_version = "1.0"', 'rules_version = "2.0"'))
    world("compare", tmp_path / "s" / "train_gpt.py", "--track", "tiny", "--runs", "2")
    new = world("submit", campaign(speedrun.runs), "--title", "Under two", "--author", "Bob")
    assert (new["place"], new["saving"], new["written"]) == (1, None, True)
    assert world("verify", contest)["holds"]
    rows = world("leaderboard", "--track", "tiny", "--records")["standings"]
    assert [(row["name"], row["place"], row["rules_version"], row["older_rules"]) for row in rows] == [
        (new["name"], 1, "2.0", False),
        (old["name"], 1, "1.0", True),
    ]


def told_signer(world: Callable[..., Any], folder: Path) -> str:
    signer: str = world("verify", folder)["reports"][0]["signer"]
    return signer


@pytest.mark.slow
def test_a_second_record_beats_the_first_on_one_machine(
    world: Callable[..., Any], speedrun: Any, contest: Path, tmp_path: Path
) -> None:
    world("run", seeded(tmp_path / "slow", 6), "--track", "tiny", "--runs", "2")
    first = world("submit", campaign(speedrun.runs), "--title", "Slow", "--author", "Ada")
    world("compare", seeded(tmp_path / "fast", 0.5), "--track", "tiny", "--runs", "3")
    bundle = campaign(speedrun.runs)
    dry = world("submit", bundle, "--title", "Fast", "--author", "Ada", "--dry-run")
    assert (dry["place"], dry["written"], dry["evidence"]["comparison"]["verdict"]) == (2, False, "faster")
    told = world("submit", bundle, "--title", "Fast", "--author", "Ada")
    record = read_record(Path(told["folder"]))
    assert record.statement.parents == (first["name"],)
    reports = {Path(report["path"]).name: report for report in world("verify", contest)["reports"]}
    assert reports[first["name"]]["predecessor"] is None  # though it comes later in the alphabet
    assert reports[told["name"]]["predecessor"] == first["name"]
    shutil.rmtree(contest / first["name"])
    world("verify", contest, code=1)

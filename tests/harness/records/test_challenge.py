"""Challenges: derived, intact, and of this very record; its own files never change."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer.testing
from typer import Typer

from harness.cli.challenge import challenge as command
from harness.errors import UserError
from harness.formats import layout
from harness.records.challenging import attach
from harness.records.manifest import write_manifest
from harness.records.record import read_record
from harness.records.verification import verify_each

Make = Callable[..., Path]
DAY = date(2026, 1, 5)
AGAIN = (5.1, 5.0, 5.2, 4.9)
MISSED = (6.1, 6.2, 6.05, 6.3)
FAST = (1.5, 1.51, 1.49, 1.52)
SLOW = (2.0, 2.01, 1.99, 2.02)
OTHER = {"train_gpt.py": "def train(run): ...\ndef load(weights, device): ...\nother = 1\n"}


def add(record: Path, bundle: Path, key: Path | None = None, **more: Any) -> Path:
    values: dict[str, Any] = {"author": "Bob", "day": DAY, "expected": None, "dry_run": False}
    return attach(record, bundle, key=key, **{**values, **more})[0]


def own_files(record: Path) -> dict[str, bytes]:
    files = (path for path in record.rglob("*") if path.is_file() and layout.CHALLENGES_DIR not in path.parts)
    return {str(path): path.read_bytes() for path in files}


def errors(folder: Path) -> set[str]:
    return {finding.id for report in verify_each([folder]) for finding in report.errors}


@pytest.fixture
def record(tmp_path: Path, make_bundle: Make, make_record: Make) -> Path:
    return make_record(make_bundle(tmp_path / "first"), "First")


def test_a_reproduction_is_attached_and_changes_nothing(tmp_path: Path, make_bundle: Make, record: Path) -> None:
    kept = own_files(record)
    place = add(record, make_bundle(tmp_path / "b", candidate_losses=AGAIN, seed=3))
    assert place.parent == record / layout.CHALLENGES_DIR
    assert re.match(r"^\d{4}-\d{2}-\d{2}_[0-9a-f]{8}\Z", place.name)
    assert own_files(record) == kept
    assert errors(record) == set()
    (challenge,) = read_record(record).challenges
    assert challenge.statement is not None
    assert (challenge.kind, challenge.statement.sentence[:36]) == (
        "reproduction",
        "mean val_loss 5.05000 of 4 runs, p =",
    )
    with pytest.raises(UserError, match="found the same one"):
        add(record, tmp_path / "b")
    assert len(list(place.parent.iterdir())) == 1


@pytest.mark.parametrize("what", ["missed", "failed", "slower"])
def test_refutations(tmp_path: Path, make_bundle: Make, record: Path, what: str) -> None:
    variants: dict[str, dict[str, Any]] = {
        "missed": {"candidate_losses": MISSED},
        "failed": {"change": lambda run, slot: _failed(run) if slot.index == 2 else run},
        "slower": {"candidate_times": SLOW, "baseline_times": FAST, "baseline_losses": AGAIN, "seed": 4},
    }
    add(record, make_bundle(tmp_path / "b", **variants[what]))
    assert errors(record) == set()
    (challenge,) = read_record(record).challenges
    assert challenge.kind == "refutation"
    assert challenge.statement is not None
    assert {"missed": "above the target 6", "failed": "rank 0 died", "slower": "slower than its baseline"}[
        what
    ] in challenge.statement.sentence
    assert read_record(record).tier == "refereed"


def _failed(run: Any) -> Any:
    from harness.formats.run import Phases
    from harness.status import Status

    update = {"status": Status.RANK_DIED, "sentence": "rank 0 died", "score": None, "stamps": None, "weights": None}
    return run.model_copy(update={**update, "phases": Phases()})


def test_too_few_runs_are_neither(tmp_path: Path, make_bundle: Make, record: Path) -> None:
    bundle = make_bundle(tmp_path / "b", candidate_times=(2.0, 2.1), candidate_losses=(5.9, 4.0))
    with pytest.raises(UserError, match="too few to say"):
        add(record, bundle)
    assert not (record / layout.CHALLENGES_DIR).exists()


def test_what_is_refused(tmp_path: Path, make_bundle: Make, write_track: Make, record: Path) -> None:
    (tmp_path / "easy").mkdir()
    easy = write_track(tmp_path / "easy", target_val_loss=9.0)
    broken = make_bundle(tmp_path / "broken")
    next(broken.glob("runs/*/run.json")).unlink()
    for folder, options, message in (
        (make_bundle(tmp_path / "other", sources={"candidate": OTHER}), {}, "another source"),
        (make_bundle(tmp_path / "track", track=easy), {}, "another contest"),
        (make_bundle(tmp_path / "open", closed=False), {}, "not_closed"),
        (broken, {}, "run_missing"),
        (make_bundle(tmp_path / "good"), {"expected": "refutation"}, "found a reproduction"),
    ):
        with pytest.raises(UserError, match=message):
            add(record, folder, **options)
    assert not (record / layout.CHALLENGES_DIR).exists()


def test_a_dry_run_attaches_nothing(tmp_path: Path, make_bundle: Make, record: Path) -> None:
    add(record, make_bundle(tmp_path / "b"), dry_run=True)
    assert not (record / layout.CHALLENGES_DIR).exists()


def test_reproduced_needs_another_allowed_signer(
    tmp_path: Path, make_bundle: Make, make_record: Make, make_key: Make, allow: Make
) -> None:
    ada, bob, eve = make_key("ada"), make_key("bob"), make_key("eve")
    allow(ada=ada, bob=bob)
    record = make_record(make_bundle(tmp_path / "first"), "First", ada)
    bundle = make_bundle(tmp_path / "b", candidate_losses=AGAIN, seed=3)
    for key in (None, eve):
        with pytest.raises(UserError, match="signatures by keys it knows"):
            add(record, bundle, key)
    labels = make_bundle(tmp_path / "labels", candidate_losses=AGAIN[:1], candidate_times=(2.0,), relabel=True)
    own = add(record, bundle, ada, relabelled=labels)
    assert read_record(record).tier == "refereed"
    shutil.rmtree(own)
    plain = add(record, bundle, bob)
    assert errors(record) == set()
    assert read_record(record).tier == "refereed"  # nothing under other labels
    shutil.rmtree(plain)
    place = add(record, bundle, bob, relabelled=labels)
    assert read_record(record).tier == "reproduced"
    assert errors(record) == set()

    kept = (place / layout.CHALLENGE_FILE).read_bytes()
    (place / layout.CHALLENGE_FILE).write_bytes(kept.replace(b"Bob", b"Rob"))
    assert read_record(record).tier == "refereed"  # no longer intact
    (place / layout.CHALLENGE_FILE).write_bytes(kept)
    allow(ada=ada, Ada=bob)
    assert read_record(record).tier == "reproduced"
    (record.parent / layout.SIGNERS_FILE).write_text(
        "".join(f"ada {key.with_suffix('.pub').read_text()}" for key in (ada, bob))
    )
    assert read_record(record).tier == "refereed"  # one person with two keys


def test_a_refutation_by_another_signer_does_not_reproduce(
    tmp_path: Path, make_bundle: Make, make_record: Make, make_key: Make, allow: Make
) -> None:
    allow(ada=make_key("ada"), bob=make_key("bob"))
    record = make_record(make_bundle(tmp_path / "first"), "First", make_key("ada"))
    add(record, make_bundle(tmp_path / "b", candidate_losses=MISSED), make_key("bob"))
    assert read_record(record).tier == "refereed"


@pytest.mark.parametrize(
    ("old", "new"), [(b"reproduction", b"refutation"), (b"2026-01-03_First", b"2026-01-03_Other"), (b"5.05", b"4.05")]
)
def test_what_a_challenge_says_is_derived_again(
    tmp_path: Path, make_bundle: Make, record: Path, old: bytes, new: bytes
) -> None:
    """Even with a manifest and a name that fit the lie."""
    from harness.records.challenge import challenge_name

    place = add(record, make_bundle(tmp_path / "b", candidate_losses=AGAIN, seed=3))
    path = place / layout.CHALLENGE_FILE
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    write_manifest(place)
    assert errors(record) >= {"challenge_place"}
    place.rename(place.with_name(challenge_name(DAY, (place / layout.MANIFEST_FILE).read_bytes())))
    assert errors(record) & {"challenge_kind", "challenge_subject"}
    assert not read_record(record).challenges[0].is_intact


def test_rubbish_among_challenges_is_told_and_does_not_hide_the_record(record: Path) -> None:
    challenges = record / layout.CHALLENGES_DIR
    (challenges / "2026-01-05_00000000").mkdir(parents=True)
    (challenges / "note.txt").write_text("")
    (challenges / "link").symlink_to(record)
    assert len(read_record(record).challenges) == 3
    assert read_record(record).tier == "refereed"
    assert errors(record) >= {"challenge_place", "challenge_unreadable", "manifest_unreadable"}


def test_the_command(tmp_path: Path, make_bundle: Make, record: Path) -> None:
    app, runner = Typer(), typer.testing.CliRunner()
    app.command()(command)
    bundle = make_bundle(tmp_path / "b", candidate_losses=AGAIN)
    name = f"{record.parent.name}/{record.name}"
    wrong = runner.invoke(app, [name, str(bundle), "--author", "Bob", "--reproduces", "--refutes"])
    assert isinstance(wrong.exception, UserError)
    nobody = runner.invoke(app, [f"{record.parent.name}/nobody", str(bundle), "--author", "Bob"])
    assert "expected a record, TRACK/NAME or its folder, found none" in str(nobody.exception)
    done = runner.invoke(app, [name, str(bundle), "--author", "Bob", "--reproduces", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["kind"], told["written"], told["tier"], told["signature"]) == (
        "reproduction", True, "refereed", "unsigned",
    )  # fmt: skip
    assert Path(told["challenge"]).is_dir()


# ------------------------------------------------------------------------------------- `reproduced` for nothing


def forged(record: Path, bundle: Path, **more: Any) -> str:
    """What keeps a campaign from being attached."""
    with pytest.raises(UserError) as refusal:
        add(record, bundle, **more)
    assert not (record / layout.CHALLENGES_DIR).exists()
    return str(refusal.value)


def with_seeds_of(other: Path) -> Callable[..., Any]:
    """What draws the seeds of another campaign again."""
    from harness.campaigns.bundle import read_bundle

    seeds = read_bundle(other).plan.seeds
    return lambda runs: seeds[:runs]


def test_a_records_own_campaign_reproduces_nothing(tmp_path: Path, make_bundle: Make, make_record: Make) -> None:
    """Signed by another key it was enough for the tier."""
    bundle = make_bundle(tmp_path / "first")
    record = make_record(bundle, "First")
    assert "the record's own" in forged(record, bundle)


def test_nor_do_its_seeds_or_one_of_its_runs(
    tmp_path: Path, make_bundle: Make, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "first")
    record = make_record(bundle, "First")
    kept = {run.seed: run for run in read_record(record).runs}
    copy = next(iter(kept.values()))
    one = make_bundle(
        tmp_path / "one",
        change=lambda run, slot: run.model_copy(update={"weights": copy.weights}) if slot.index == 1 else run,
    )
    assert "another campaign" in forged(record, one)
    monkeypatch.setattr("harness.campaigns.campaign._draw_seeds", with_seeds_of(bundle))
    assert "its seeds are the record's" in forged(record, make_bundle(tmp_path / "seeds", candidate_losses=AGAIN))


def by_hand(run: Any, slot: Any) -> Any:
    return run.model_copy(update={"seed_source": "user"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sandbox": "landlock"}, "less of a sandbox"),
        ({"sandbox": "process"}, "less of a sandbox"),
        ({"change": by_hand}, "seed_source"),
    ],
)
def test_every_rule_of_a_run_applies(
    tmp_path: Path, make_bundle: Make, record: Path, options: dict[str, Any], said: str
) -> None:
    assert said in forged(record, make_bundle(tmp_path / "b", candidate_losses=AGAIN, **options))


def test_every_rule_of_a_record_applies(tmp_path: Path, make_bundle: Make, make_record: Make) -> None:
    """Two runs, where the track wants three; and two models that are one."""
    folder = layout.records_root() / "tiny" / layout.TRACK_FILE
    folder.write_text(folder.read_text().replace("min_runs = 2", "min_runs = 3"))
    record = make_record(make_bundle(tmp_path / "first", folder), "First")
    two = make_bundle(tmp_path / "two", folder, candidate_times=(2.0, 2.1), candidate_losses=(5.0, 5.001))
    assert "too few valid runs" in forged(record, two)
    assert make_bundle(tmp_path / "three", folder, candidate_losses=AGAIN)
    early = make_bundle(tmp_path / "early", folder, candidate_losses=AGAIN)
    assert "dated before its runs" in forged(record, early, day=date(2025, 1, 1))


def test_a_relabelled_campaign_is_of_the_same_source_and_really_relabelled(
    tmp_path: Path, make_bundle: Make, record: Path
) -> None:
    bundle = make_bundle(tmp_path / "b", candidate_losses=AGAIN)
    few: dict[str, Any] = {"candidate_times": (2.0,), "candidate_losses": (5.05,)}
    assert "other labels" in forged(record, bundle, relabelled=make_bundle(tmp_path / "plain", **few))
    other = make_bundle(tmp_path / "other", sources={"candidate": OTHER}, relabel=True, **few)
    assert "not what was planned" in forged(record, bundle, relabelled=other)
    unfinished = make_bundle(tmp_path / "open", closed=False, relabel=True, **few)
    assert "not closed" in forged(record, bundle, relabelled=unfinished)


def test_a_source_that_needs_its_labels_is_refuted(tmp_path: Path, make_bundle: Make, record: Path) -> None:
    bundle = make_bundle(tmp_path / "b", candidate_losses=AGAIN)
    labels = make_bundle(tmp_path / "l", candidate_times=(2.0,), candidate_losses=(7.5,), relabel=True)
    add(record, bundle, relabelled=labels)
    (challenge,) = read_record(record).challenges
    assert challenge.statement is not None
    assert (challenge.kind, challenge.is_intact) == ("refutation", True)
    assert "under other labels val_loss 7.5" in challenge.statement.sentence


def test_runs_in_another_language_need_no_labels(tmp_path: Path, make_bundle: Make) -> None:
    from harness.campaigns.bundle import read_bundle
    from harness.records.vouching import speaks_another_language

    def in_another(run: Any, slot: Any) -> Any:
        return run.model_copy(update={"data": {name: digest[::-1] for name, digest in run.data.items()}})

    plain = read_bundle(make_bundle(tmp_path / "a")).runs("candidate")
    other = read_bundle(make_bundle(tmp_path / "b", change=in_another)).runs("candidate")
    assert speaks_another_language(other, plain)
    assert not speaks_another_language([*other, plain[0]], plain)
    assert not speaks_another_language([], plain)

"""JSON Schemas: fresh in docs/, valid themselves, met by real files and real output, and closed."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.errors import UserError
from harness.formats import layout
from harness.formats.run import RunRecord
from leaderboard.cli.schemas import FORMS, path_of, schema, write_schemas

ROOT = Path(__file__).resolve().parents[3]
RUNS = sorted(layout.records_root().glob("*/*/runs/*/run.json"))


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    """Reads the file in docs/, as a stranger's program would."""
    return jsonschema.Draft202012Validator(
        json.loads(path_of(name).read_text()), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


def speedrun(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", FORMS)
def test_a_schema_is_fresh_and_valid(name: str) -> None:
    found = json.loads(path_of(name).read_text())
    assert found == schema(name), "run `speedrun schemas --write`"
    jsonschema.Draft202012Validator.check_schema(found)


def test_nothing_else_lies_among_the_schemas() -> None:
    assert {path.name for path in layout.SCHEMAS.iterdir()} == {f"{name}.json" for name in FORMS}


def test_every_object_of_every_schema_is_closed() -> None:
    for name in FORMS:
        for place, value in objects(schema(name), name):
            if isinstance(value.get("properties"), dict) and value.get("type") == "object":
                assert value["additionalProperties"] is False, place


def objects(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield place, value
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from objects(inner, f"{place}.{key}")


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.parent.name)
def test_runs_of_the_records(path: Path) -> None:
    validator("run").validate(json.loads(path.read_text()))


def test_there_are_runs_to_look_at() -> None:
    assert RUNS


def first_run() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RUNS[0].read_text())
    return found


@pytest.mark.parametrize(
    "spoil",
    [
        lambda run: run | {"notes": "added"},
        lambda run: run | {"seed": "1"},
        lambda run: run | {"status": "won"},
        lambda run: run | {"schema_version": 99},
        lambda run: {key: value for key, value in run.items() if key != "seed_source"},
        lambda run: run | {"score": run["score"] | {"val_los": 1.0}},
        lambda run: run | {"environment": run["environment"] | {"gpu": []}},
        lambda run: run | {"data": {"shard": "not a digest"}},
    ],
)
def test_schema_and_model_refuse_the_same(spoil: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    spoiled = spoil(first_run())
    with pytest.raises(jsonschema.ValidationError):
        validator("run").validate(spoiled)
    with pytest.raises(ValueError, match="validation error"):
        RunRecord.model_validate_json(json.dumps(spoiled))


def test_tracks_and_datasets() -> None:
    for path in [*layout.track_files(), ROOT / "tests" / "tracks" / "tiny" / "track.toml"]:
        validator("track").validate(tomllib.loads(path.read_text()))
    for path in (ROOT / "data" / "manifests").glob("*.toml"):
        validator("dataset").validate(tomllib.loads(path.read_text()))


def test_a_campaign(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "campaign", baseline_times=(3.0, 3.01, 3.02, 2.99))
    entries = [json.loads(line) for line in (folder / layout.LEDGER_FILE).read_text().splitlines()]
    assert len(entries) == 1 + 8 * 2 + 1
    for entry in entries:
        validator("ledger-entry").validate(entry)
    validator("plan").validate(entries[0]["plan"])
    for path in folder.glob("runs/*/run.json"):
        validator("run").validate(json.loads(path.read_text()))
    with pytest.raises(jsonschema.ValidationError):
        validator("ledger-entry").validate(entries[1] | {"kind": "outcome"})


FILES = {"statement": "record.json", "verdict": "verdict.json", "manifest": "manifest.json"}


@pytest.mark.parametrize("name", FILES)
def test_files_of_the_records(name: str) -> None:
    paths = sorted(layout.records_root().glob(f"*/*/{FILES[name]}"))
    assert paths
    for path in paths:
        validator(name).validate(json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("tracks-output", "tracks --json"),
        ("doctor-output", "doctor --json"),
        ("node-check-dry-run-output", "doctor --race --track nano-2cpu --dry-run --json"),
        ("rules-output", "rules --track gpt2-small-8xh100 --json"),
        ("leaderboard-output", "leaderboard --track nano-2cpu --records --json"),
        ("verify-output", "verify records/nano-2cpu --json"),
        ("plan-output", "plan --track nano-2cpu --json"),
        ("data-list-output", "data list --json"),
        ("dry-run-output", "run train_gpt.py --track nano-2cpu --dry-run --json"),
        ("campaign-dry-run-output", "run train_gpt.py --track nano-2cpu --runs 3 --dry-run --json"),
        ("campaign-dry-run-output", "compare train_gpt.py --track nano-2cpu --runs 3 --dry-run --json"),
        ("refusal-output", "run no_such_file.py --json"),
        ("refusal-output", "no-such-command --json"),
    ],
)
def test_what_a_command_prints(name: str, command: str) -> None:
    validator(name).validate(json.loads(speedrun(*command.split())))


def test_what_verify_prints_of_a_campaign(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "campaign", baseline_times=(3.0, 3.01, 3.02, 2.99))
    found = json.loads(speedrun("verify", str(folder), "--json"))
    assert found["reports"][0]["evidence"]["comparison"]["verdict"] == "faster"
    validator("verify-output").validate(found)


def test_a_record_from_submission_to_challenge(
    make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = tmp_path / "records"
    monkeypatch.setenv("SPEEDRUN_RECORDS", str(records))
    (records / "tiny").mkdir(parents=True)
    track = records / "tiny" / layout.TRACK_FILE
    track.write_bytes((ROOT / "tests" / "tracks" / "tiny" / "track.toml").read_bytes())
    mine, theirs = make_bundle(tmp_path / "mine", track), make_bundle(tmp_path / "theirs", track, seed=1)

    submitted = json.loads(speedrun("submit", mine, "--title", "First", "--author", "A", "--json"))
    validator("submit-output").validate(submitted)
    assert submitted["written"]
    record = Path(submitted["folder"])
    for name, file in FILES.items():
        validator(name).validate(json.loads((record / file).read_text()))

    challenged = json.loads(speedrun("challenge", record, theirs, "--author", "B", "--json"))
    validator("challenge-output").validate(challenged)
    statement = Path(challenged["challenge"]) / layout.CHALLENGE_FILE
    validator("challenge").validate(json.loads(statement.read_text()))
    verified = json.loads(speedrun("verify", record, "--json"))
    validator("verify-output").validate(verified)
    assert verified["holds"]
    validator("leaderboard-output").validate(json.loads(speedrun("leaderboard", "--track", "tiny", "--json")))


def test_what_data_prints(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEEDRUN_DATA", str(data_root))
    validator("data-prepare-output").validate(json.loads(speedrun("data", "prepare", "embedded-tiny", "--json")))
    validator("data-verify-output").validate(json.loads(speedrun("data", "verify", "embedded-tiny", "--json")))
    shard = next((data_root / "embedded-tiny").glob("*.bin"))
    validator("data-info-output").validate(json.loads(speedrun("data", "info", str(shard), "--json")))


def test_the_command_writes_what_is_missing_and_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SCHEMAS", tmp_path / "schemas")
    assert len(write_schemas()) == len(FORMS)
    assert write_schemas() == []
    path_of("run").write_text("{}\n")
    assert write_schemas() == [path_of("run")]
    with pytest.raises(UserError, match="expected one of the schemas run, plan"):
        schema("runs")


def test_the_command_shows_them() -> None:
    assert json.loads(speedrun("schemas", "track")) == schema("track")
    assert set(json.loads(speedrun("schemas", "--json"))) == set(FORMS)
    assert "one line of ledger.jsonl" in speedrun("schemas")

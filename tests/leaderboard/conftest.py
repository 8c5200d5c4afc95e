"""Fixtures for boards: records of the tiny track in a world of their own, and commands called in this process."""

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from harness.formats import layout
from harness.records.submitting import Claims, draft, write
from leaderboard.cli.schemas import path_of

TINY = Path(__file__).resolve().parent.parent / "tracks" / "tiny" / "track.toml"


@pytest.fixture
def contest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the tiny track among records, runs and caches of its own."""
    folder = tmp_path / "records" / "tiny"
    folder.mkdir(parents=True)
    shutil.copy(TINY, folder / layout.TRACK_FILE)
    monkeypatch.setenv("SPEEDRUN_RECORDS", str(folder.parent))
    monkeypatch.setenv("SPEEDRUN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SPEEDRUN_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def make_record(contest: Path) -> Callable[..., Path]:
    """make_record(bundle, title, day=..., **claims): a bundle submitted to the tiny track."""

    def make(bundle: Path, title: str, day: date = date(2026, 1, 3), **claims: Any) -> Path:
        drafted = draft(bundle, Claims(**{"title": title, "authors": ("Ada",), "date": day, **claims}), None)
        write(drafted, None)
        return drafted.folder

    return make


@pytest.fixture
def two_records(tmp_path: Path, make_bundle: Callable[..., Path], make_record: Callable[..., Path]) -> list[Path]:
    """A first record, and one that was raced against it and is a quarter faster."""
    old = {"train_gpt.py": "def train(run): ...\ndef load(weights, device): ...\n"}
    new = {"train_gpt.py": "def train(run): ...\ndef load(weights, device): ...\nNEW = 1\n"}
    slow, fast = (2.0, 2.01, 1.99, 2.02), (1.5, 1.51, 1.49, 1.52)
    first = make_record(make_bundle(tmp_path / "a", sources={"candidate": old}), "A first one", techniques=("adamw",))
    race = make_bundle(
        tmp_path / "b", candidate_times=fast, baseline_times=slow, baseline_record=first.name, seed=7,
        sources={"candidate": new, "baseline": old},
    )  # fmt: skip
    return [first, make_record(race, "A faster one", authors=("Grace", "Ada"), techniques=("muon",))]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """call(function or app, *argv, width=80): a command as the front door calls it; what it raised is raised."""

    def run(command: Callable[..., None] | typer.Typer, *argv: str, width: int = 80) -> Result:
        monkeypatch.setenv("COLUMNS", str(width))
        for taste in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):  # what it prints goes into no terminal
            monkeypatch.delenv(taste, raising=False)
        app = command if isinstance(command, typer.Typer) else typer.Typer(pretty_exceptions_enable=False)
        if not isinstance(command, typer.Typer):
            app.command()(command)
        result: Result = CliRunner().invoke(app, list(argv))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def meets_schema() -> Callable[[str, Any], None]:
    """meets_schema(name, value): raises where a published schema in docs/ does not allow what was printed."""

    def check(name: str, value: Any) -> None:
        schema = json.loads(path_of(name).read_text())
        jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(
            value
        )

    return check

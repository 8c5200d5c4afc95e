"""Imported histories are held against themselves: form, track, indices, and every relation between two numbers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.formats import layout
from leaderboard.upstream.history import compact
from leaderboard.upstream.verifying import imported_findings

TRACK = "gpt2-small-8xh100"
RUN = {"folder": 0, "file": 1, "position": 2, "val_loss": 3, "train_time_ms": 4, "step": 5, "copy_of": 10}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(layout.ROOT / "records" / TRACK, tmp_path / TRACK))


def found(folder: Path) -> set[str]:
    return {finding.id for finding in imported_findings(folder) if finding.severity == "error"}


@pytest.mark.parametrize("track", ["gpt2-small-8xh100", "gpt2-medium-8xh100", "optimizer-steps", "nano-2cpu"])
def test_what_was_imported_holds(track: str) -> None:
    """What differs from its logs is told, as a warning, for tables do differ."""
    findings = list(imported_findings(layout.ROOT / "records" / track))
    assert {finding.id for finding in findings} <= {"claims_differ"}
    assert {finding.severity for finding in findings} <= {"warning"}


def edit(folder: Path, change: Callable[[Any], object]) -> None:
    """The file as an import would write it, with the change in it."""
    path = folder / "history.json"
    values = json.loads(path.read_bytes())
    change(values)
    path.write_bytes(compact(values))


def a_run(number: int, **update: Any) -> Callable[[Any], object]:
    return lambda values: [values["runs"][number].__setitem__(RUN[name], value) for name, value in update.items()]


def a_row(number: int, **update: Any) -> Callable[[Any], object]:
    return lambda values: values["records"][number].update(update)


IMPOSSIBLE: dict[str, Callable[[Any], object]] = {
    "a negative loss": a_run(3, val_loss=-3.2),
    "a negative time": a_run(3, train_time_ms=-5),
    "a negative step": a_run(3, step=-1),
    "a copy of itself": a_run(5, copy_of=5),
    "a copy of another result": a_run(5, copy_of=0),
    "a run told twice": lambda values: values["runs"].append(values["runs"][0]),
    "a claim of no time": a_row(5, claim={"train_time_s": 0.0}),
    "a claim of a negative loss": a_row(5, claim={"train_time_s": 9.0, "val_loss": -1.0}),
    "a row of the future": a_row(5, date="2999-01-01"),
    "a run counted twice": lambda values: values["records"][-1].update(runs=[7, 7], losses=[]),
    "a title that moves the cursor": a_row(5, title="\x1b[2Jnothing"),
    "a name that turns the text round": a_row(5, authors=["\u202eada"]),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_is_found_though_its_form_is_right(folder: Path, case: str) -> None:
    edit(folder, IMPOSSIBLE[case])
    assert "import_impossible" in found(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda path: path.write_text("{"), "import_unreadable"),
        (lambda path: path.write_text("[" * 200_000), "import_unreadable"),
        (lambda path: path.write_text('{"schema_version": ' + "9" * 5000 + "}"), "import_unreadable"),
        (lambda path: path.write_bytes(path.read_bytes() + b" "), "import_not_canonical"),
        (
            lambda path: path.write_bytes(path.read_bytes().replace(b'"track": "gpt2-small', b'"track": "gpt3-small')),
            "import_track",
        ),
        (lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")), "import_unreadable"),
    ],
)
def test_another_form_is_found(folder: Path, change: Callable[[Path], object], expected: str) -> None:
    change(folder / "history.json")
    assert expected in found(folder)


def test_indices_of_nothing_are_found(folder: Path) -> None:
    edit(folder, a_run(3, folder=10_000))
    assert "import_dangling" in found(folder)


EDITED: dict[str, Callable[[Any], object]] = {
    "a better time": lambda values: by_number(values, 60)["claim"].update(train_time_s=120.0),
    "a time better by a hundredth": lambda values: bump(by_number(values, 60)["claim"], "train_time_s", -0.01),
    "no time any more": lambda values: by_number(values, 60)["claim"].pop("train_time_s"),
    "a run fewer": lambda values: by_number(values, 60)["runs"].pop(),
    "a mean that its runs have not": lambda values: by_number(values, 60)["claim"].update(val_loss=3.1),
    "more runs": lambda values: by_number(values, 60)["claim"].update(runs=99),
    "no flags": lambda values: next(r for r in values["records"] if r["shown"].get("flags"))["shown"].pop("flags"),
    "nothing shown": lambda values: by_number(values, 60).pop("shown"),
    "a run that was better": lambda values: bump(
        values["runs"][by_number(values, 60)["runs"][0]], RUN["val_loss"], -0.01
    ),
    "a run that was quicker": lambda values: bump(
        values["runs"][by_number(values, 60)["runs"][0]], RUN["train_time_ms"], -9_000
    ),
}


def by_number(values: Any, number: int) -> Any:
    return next(row for row in values["records"] if row["number"] == number)


def bump(where: Any, key: Any, by: float) -> None:
    where[key] += by


@pytest.mark.parametrize("case", EDITED)
def test_a_claim_or_a_run_that_somebody_edits_no_longer_fits(folder: Path, case: str) -> None:
    assert not [finding for finding in imported_findings(folder) if finding.severity == "error"]
    edit(folder, EDITED[case])
    assert "import_claim_edited" in found(folder)


def test_claims_that_differ_are_counted_again_from_the_runs(folder: Path) -> None:
    def told() -> str:
        return next(finding.sentence for finding in imported_findings(folder) if finding.id == "claims_differ")

    before = told()
    edit(folder, lambda values: [row["claim"].update(train_time_s=1.0) for row in values["records"]])
    assert told() != before

"""What the leaderboard's commands print with `--json` is what its published schemas say, also of broken things."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from click.testing import Result

from harness.errors import UserError
from harness.formats import layout
from harness.records.challenging import attach
from harness.status import Status
from leaderboard.cli import plot as plot_command
from leaderboard.cli import site as site_command
from leaderboard.cli.audit import audit
from leaderboard.cli.leaderboard import leaderboard
from leaderboard.cli.log import log
from leaderboard.cli.readme import readme
from leaderboard.cli.reproduce import reproduce
from leaderboard.cli.show import show
from leaderboard.cli.watch import watch

Call = Callable[..., Result]
Make = Callable[..., Path]
Meets = Callable[[str, Any], None]


@pytest.fixture
def printed(call: Call, meets_schema: Meets) -> Callable[..., Any]:
    """printed(schema, command, *argv): what it prints with --json, which is as its schema says."""

    def read(schema: str, command: Callable[..., None] | typer.Typer, *argv: str) -> Any:
        found = json.loads(call(command, *argv, "--json").stdout)
        meets_schema(schema, found)
        return found

    return read


def test_a_schema_refuses_what_a_command_does_not_print(
    two_records: list[Path], call: Call, meets_schema: Meets
) -> None:
    found = json.loads(call(show, "faster", "--json").stdout)
    for spoilt in (found | {"kind": "imported"}, found | {"note": ""}, {**found, "runs": [{}]}):
        with pytest.raises(jsonschema.ValidationError):
            meets_schema("show-output", spoilt)


def test_the_board(two_records: list[Path], printed: Callable[..., Any]) -> None:
    assert len(printed("leaderboard-output", leaderboard, "--track", "tiny")["standings"]) == 2
    assert printed("leaderboard-output", leaderboard, "--track", "tiny", "--technique", "lion")["standings"] == []


def test_what_was_imported_is_as_its_schemas_say(meets_schema: Meets) -> None:
    for track in ("gpt2-small-8xh100", "gpt2-medium-8xh100", "optimizer-steps"):
        meets_schema("history", json.loads(layout.history_file(track).read_text()))
        meets_schema("open-claims", json.loads(layout.claims_file(track).read_text()))


def test_an_imported_board(printed: Callable[..., Any]) -> None:
    assert (
        len(printed("leaderboard-output", leaderboard, "--track", "gpt2-medium-8xh100", "--records")["standings"]) > 9
    )


def test_a_record_in_every_state(
    two_records: list[Path], tmp_path: Path, make_bundle: Make, printed: Callable[..., Any]
) -> None:
    assert printed("show-output", show, "faster")["evidence"]["comparison"]["verdict"] == "faster"
    old = {"train_gpt.py": "def train(run): ...\ndef load(weights, device): ...\n"}
    again = make_bundle(tmp_path / "again", seed=3, sources={"candidate": old})
    attach(two_records[0], again, author="Lin", day=date(2026, 1, 4), key=None, expected=None, dry_run=False)
    (challenge,) = printed("show-output", show, "first")["challenges"]
    assert (challenge["kind"], challenge["intact"]) == ("reproduction", True)
    (two_records[0] / "challenges" / challenge["name"] / layout.CHALLENGE_FILE).write_text("{}")
    (challenge,) = printed("show-output", show, "first")["challenges"]
    assert (challenge["kind"], challenge["intact"]) == (None, False)
    for damage in ("manifest.json", "record.json", "ledger.jsonl"):
        (two_records[1] / damage).write_text("{}")
        assert printed("show-output", show, "faster")["holds"] is False


def test_attempts_that_do_not_count(
    tmp_path: Path, make_bundle: Make, make_record: Make, printed: Callable[..., Any]
) -> None:
    make_record(make_bundle(tmp_path / "bundle", uncounted={1: [Status.INTERRUPTED]}), "With a break")
    runs = printed("show-output", show, "break")["runs"]
    assert [run["val_loss"] is None for run in runs] == [False, True, False, False, False]


@pytest.mark.parametrize("number", [12, 86, 88])
def test_an_imported_record(number: int, printed: Callable[..., Any]) -> None:
    found = printed("show-output", show, f"gpt2-small-8xh100/{number}")
    assert (found["kind"], found["standing"]["tier"]) == ("imported", "reported")


def test_points_of_plots(two_records: list[Path], printed: Callable[..., Any]) -> None:
    progress = printed("plot-output", plot_command.app, "progress", "--track", "tiny")
    assert progress["unit"] == "s"
    assert [round(point["value"], 3) for point in progress["points"]] == [2.005, 1.505]
    curves = printed("plot-output", plot_command.app, "curves", "faster")
    assert len(curves["points"]) == 4
    noise = printed("plot-output", plot_command.app, "noise", "--track", "tiny")
    assert [len(record["losses"]) for record in noise["records"]] == [4, 4]


def test_points_of_an_imported_history(printed: Callable[..., Any]) -> None:
    for track, unit in (("gpt2-small-8xh100", "s"), ("optimizer-steps", "steps")):
        assert printed("plot-output", plot_command.app, "progress", "--track", track)["unit"] == unit
    assert printed("plot-output", plot_command.app, "noise", "gpt2-small-8xh100/86")["records"][0]["times_s"] == []


def test_points_are_printed_or_drawn(two_records: list[Path], call: Call, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at most one of --out and --json"):
        call(plot_command.app, "noise", "--track", "tiny", "--json", "--out", str(tmp_path / "x.svg"))
    assert not (tmp_path / "x.svg").exists()


def test_what_was_watched(contest: Path, tmp_path: Path, make_bundle: Make, printed: Callable[..., Any]) -> None:
    campaign = make_bundle(tmp_path / "runs" / "2026-01-02T03-04-05Z-c000000", candidate_times=(2.0, 2.1))
    assert printed("watch-output", watch, campaign.name)["closed"] is True
    run = min((campaign / "runs").iterdir())
    assert printed("watch-output", watch, run.name)["run"] == run.name


def test_tables_of_a_readme(two_records: list[Path], tmp_path: Path, printed: Callable[..., Any]) -> None:
    path = tmp_path / "README.md"
    path.write_text("<!-- leaderboard:tiny -->\n<!-- /leaderboard -->\n")
    checked = printed("readme-output", readme, str(path), "--check")
    assert (checked["changed"], checked["written"]) == (True, False)
    assert printed("readme-output", readme, str(path))["written"] is True


def test_a_site(two_records: list[Path], tmp_path: Path, printed: Callable[..., Any]) -> None:
    (two_records[1] / "record.json").write_text("{}")
    built = printed("site-build-output", site_command.app, "build", "--out", str(tmp_path / "site"))
    assert built["tracks"] == ["tiny"]
    assert two_records[1].name in built["broken"][0]
    assert printed("site-build-output", site_command.app, "build", "--out", str(tmp_path / "site"))["written"] == []


LOGS = {
    "modded": "step:0/10 val_loss:10.8 train_time:0ms step_avg:nanms\nstep:10/10 val_loss:3.27 train_time:990ms\n",
    "nanogpt": "step 0: train loss 4.2, val loss 4.2\niter 0: loss 4.2, time 31.1ms, mfu -100.00%\n",
    "nothing": "once upon a time\n",
    "odd": "step:1/10 val_loss:nan train_time:5ms\nstep:1/10 val_loss:3.0 train_time:4ms\n\x00\x1b[2J",
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log(name: str, tmp_path: Path, printed: Callable[..., Any]) -> None:
    (tmp_path / "train.log").write_text(LOGS[name])
    assert printed("log-output", log, str(tmp_path / "train.log"))["tier"] == "reported"


def test_the_audit(printed: Callable[..., Any]) -> None:
    assert set(printed("audit-output", audit)) == {"gpt2-small-8xh100", "gpt2-medium-8xh100", "optimizer-steps"}


@pytest.mark.parametrize("flags", [[], ["--here", "--relabel", "--runs", "2"]])
def test_a_plan_to_reproduce(two_records: list[Path], flags: list[str], printed: Callable[..., Any]) -> None:
    plan = printed("reproduction-plan-output", reproduce, "faster", "--dry-run", *flags)
    assert (plan["runs"], plan["relabelled_runs"]) == ((2, 1) if flags else (4, 0))


def test_a_plan_to_replay(printed: Callable[..., Any]) -> None:
    assert printed("reproduction-plan-output", reproduce, "gpt2-small-8xh100/88", "--dry-run")["tier"] == "reported"

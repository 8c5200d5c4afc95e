"""Every exhibit of the museum ends as its file says, at every sandbox level here; none is accepted unsaid."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.__main__ import main
from harness.formats.run import Finding
from harness.formats.track import load_track
from harness.rules import source_rules
from harness.sandbox import levels
from tests.cheats import museum
from tests.cheats.catalogue import CATALOGUE, UNPLAYED
from tests.cheats.museum import GROUPS, PAGE, STATUSES, Exhibit, cheats
from tests.cheats.plays import plays

TRACK = museum.HERE.parent / "tracks" / "tiny" / "track.toml"
EXHIBITS = cheats()
LEVELS = levels.LEVELS


def ending(outcome: Any) -> str:
    """What became of a run, in the museum's words."""
    if not outcome.folders:
        return "refused" if outcome.code == 2 else f"exit {outcome.code}"
    record = outcome.record
    errors = sorted({finding["id"] for finding in record["findings"] if finding["severity"] == "error"})
    if record["status"] != "complete":
        return str(record["status"])
    if errors:
        return "finding " + ", ".join(errors)
    return "reached" if outcome.code == 0 else "missed"


def is_one_of(found: str, allowed: tuple[str, ...]) -> bool:
    """`finding X` is met by X among other findings too."""
    ids = found.removeprefix("finding ").split(", ") if found.startswith("finding ") else []
    return found in allowed or any(f"finding {id}" in allowed for id in ids)


def words(outcomes: list[Any]) -> dict[str, Any]:
    """The names an exhibit's `holds` may use."""
    last = outcomes[-1]
    record = last.record if last.folders else {}
    phases, score = record.get("phases", {}), record.get("score") or {}
    return {
        "record": record,
        "records": [json.loads((folder / "run.json").read_bytes()) for folder in last.folders],
        "findings": [finding["id"] for finding in record.get("findings", [])],
        "train_s": (phases.get("train_ns") or 0) / 1e9,
        "charged_s": sum(charge["charged_ns"] for charge in record.get("charges", [])) / 1e9,
        "val_loss": score.get("val_loss"),
        "windows": score.get("windows"),
        "sentence": record.get("sentence", ""),
        "log": last.log if last.folders and (last.folder / "log.txt").exists() else "",
        "stdout": last.stdout,
        "stderr": last.stderr,
        "source_findings": last.folders and {f.id for f in check_source_rules(last.folder / "source", record)},
    }


def check_source_rules(source: Path, record: dict[str, Any]) -> tuple[Finding, ...]:
    """What the rules of the source say of what ran, when it is to become a record."""
    return source_rules.check(source, record["submission"]["files"], load_track(str(TRACK)))


@pytest.mark.parametrize(("exhibit", "level"), plays([exhibit for exhibit in EXHIBITS if not exhibit.forges]))
def test_an_exhibit_ends_as_it_says(exhibit: Exhibit, level: str, play: Any) -> None:
    if level not in levels.available_levels():
        pytest.skip(f"no {level} on this machine")
    outcomes = play(exhibit, level)
    found, allowed = ending(outcomes[-1]), exhibit.endings(level)
    told = words(outcomes)
    detail = f"{told['sentence']}\n{told['stderr'][-1000:]}\n{told['log'][-2000:]}"
    holds = bool(eval(exhibit.holds, {}, told))
    if "accepted" in allowed:
        assert found == "reached", f"it does not work any more: say so\n{detail}"
        assert exhibit.holds == "True" or not holds, f"{exhibit.holds} holds: it does not work any more\n{detail}"
    else:
        assert is_one_of(found, allowed), (found, detail)
        assert holds, f"{exhibit.holds} does not hold\n{detail}"


@pytest.mark.parametrize("exhibit", [e for e in EXHIBITS if e.forges], ids=lambda exhibit: exhibit.name)
def test_a_forgery_ends_as_it_says(
    exhibit: Exhibit, desk: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    exec(compile(exhibit.path.read_text(), exhibit.path, "exec"), names)
    monkeypatch.setattr(sys, "argv", ["speedrun", *map(str, names["forge"](desk))])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    shown, code = capsys.readouterr(), ended.value.code or 0
    detail = f"{shown.out}\n{shown.err}"
    assert "Traceback" not in detail, detail
    allowed = exhibit.endings(museum.BEST)
    if "accepted" in allowed:
        assert code == 0, f"it does not work any more: say so\n{detail}"
    elif "refused" in allowed:
        assert code == 2, detail
    else:
        assert code == 1, detail
        found = errors(json.loads(shown.out))
        assert is_one_of("finding " + ", ".join(sorted(found)), allowed), (found, allowed)
    told = {"stdout": shown.out, "stderr": shown.err}
    assert eval(exhibit.holds, {}, told), f"{exhibit.holds} does not hold\n{detail}"


def errors(told: Any) -> set[str]:
    """The error-level findings in what `verify --json` or `submit --json` says."""
    if isinstance(told, dict) and {"id", "severity"} <= told.keys():
        return {told["id"]} if told["severity"] == "error" else set()
    parts = told.values() if isinstance(told, dict) else told if isinstance(told, list) else ()
    return set().union(*map(errors, parts))


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_an_exhibit_says_what_it_is(exhibit: Exhibit) -> None:
    assert exhibit.group == exhibit.path.parent.name
    assert exhibit.status in STATUSES
    assert exhibit.title
    assert len(exhibit.story) > 40
    assert exhibit.catalogue
    assert set(exhibit.catalogue) <= set(CATALOGUE)
    assert set(exhibit.ends) <= set(LEVELS)
    best = exhibit.endings(museum.BEST)
    assert ("accepted" in best) == (exhibit.status == "not covered"), "what works is said to work, and nothing else"
    if "reached" in best:
        assert exhibit.holds != "True", "an ending at the target must show that the cheat bought nothing"


def test_the_museum_is_large_and_covers_every_group() -> None:
    assert len(EXHIBITS) >= 40
    assert all(number >= 3 for number in Counter(exhibit.group for exhibit in EXHIBITS).values())
    assert {exhibit.group for exhibit in EXHIBITS} == set(GROUPS)
    assert museum.LEVELS == LEVELS
    assert len({exhibit.title for exhibit in EXHIBITS}) == len(EXHIBITS)


def test_every_number_of_the_catalogue_is_played_or_explained() -> None:
    played = {number for exhibit in EXHIBITS for number in exhibit.catalogue}
    assert played | set(UNPLAYED) == set(CATALOGUE)
    assert played.isdisjoint(UNPLAYED)


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == museum.render(), "run python tests/cheats/museum.py --write"

"""JSON Schemas of everything on disk and of every `--json` output, from the models themselves.

They lie in docs/schemas/, for programs that are not ours; `speedrun schemas --write` makes them anew and a test holds
them fresh. A schema is closed: a key it does not name is an error.
"""

import importlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UserError
from .formats import layout


class Form(NamedTuple):
    """One schema: the model it comes from, and what it describes."""

    model: str  # module:name, imported when it is asked for: like the commands, of any package
    describes: str


# To add one: a line here, then `speedrun schemas --write`.
FORMS = {
    "run": Form("harness.formats.run:RunRecord", "run.json, speedrun run --json"),
    "plan": Form("harness.campaigns.campaign:Plan", "the plan of a campaign, in the first line of its ledger"),
    "ledger-entry": Form("harness.campaigns.ledger:Entry", "one line of ledger.jsonl"),
    "statement": Form("harness.archive.record:Statement", "record.json"),
    "verdict": Form("harness.archive.verdict:Verdict", "verdict.json"),
    "manifest": Form("harness.archive.manifest:Manifest", "manifest.json"),
    "challenge": Form("harness.archive.challenge:ChallengeStatement", "challenge.json"),
    "track": Form("harness.formats.track:Track", "track.toml"),
    "dataset": Form("data.datasets:Dataset", "a manifest of a dataset, as TOML"),
    "legacy": Form("harness.selftimed.record:LegacyRecord", "legacy.json, speedrun run --legacy --json"),
    "refusal-output": Form("harness.outputs:Refusal", "any command that fails with --json"),
    "dry-run-output": Form("harness.outputs:DryRun", "speedrun run --dry-run --json"),
    "campaign-output": Form(
        "harness.campaigns.summary:Summary", "speedrun run --runs N --json, speedrun compare --json"
    ),
    "campaign-dry-run-output": Form("harness.outputs:CampaignDryRun", "the same with --dry-run"),
    "plan-output": Form("harness.campaigns.forecast:Forecast", "speedrun plan --json"),
    "submit-output": Form("harness.outputs:Submitted", "speedrun submit --json"),
    "verify-output": Form("harness.outputs:Verification", "speedrun verify --json"),
    "challenge-output": Form("harness.outputs:Challenged", "speedrun challenge --json"),
    "reproduction-output": Form(
        "harness.archive.reproduction:Reproduction", "speedrun reproduce --json of a record of ours"
    ),
    "rules-output": Form("harness.outputs:TrackRules", "speedrun rules --json"),
    "leaderboard-output": Form("leaderboard.cli.json_types:Leaderboard", "speedrun leaderboard --json"),
    "show-output": Form("leaderboard.cli.json_types:AnyShown", "speedrun show --json"),
    "plot-output": Form("leaderboard.cli.json_types:AnyPlotted", "speedrun plot progress, curves, noise --json"),
    "watch-output": Form("leaderboard.cli.json_types:AnyWatched", "speedrun watch --json"),
    "readme-output": Form("leaderboard.cli.json_types:WrittenTables", "speedrun readme --json"),
    "site-build-output": Form("leaderboard.cli.json_types:BuiltSite", "speedrun site build --json"),
    "log-output": Form("leaderboard.cli.json_types:ReadLog", "speedrun log --json"),
    "audit-output": Form("leaderboard.cli.json_types:Audited", "speedrun audit --json"),
    "import-output": Form("leaderboard.cli.json_types:ImportedTracks", "speedrun import --json"),
    "reproduction-plan-output": Form("leaderboard.cli.json_types:AnyPlanned", "speedrun reproduce --dry-run --json"),
    "replay-output": Form("leaderboard.upstream.replaying:Replay", "speedrun reproduce --json of an imported record"),
    "tracks-output": Form("harness.outputs:ListedTracks", "speedrun tracks --json"),
    "doctor-output": Form("harness.outputs:Examination", "speedrun doctor --json"),
    "data-list-output": Form("harness.outputs:DatasetList", "speedrun data list --json"),
    "data-verify-output": Form("harness.outputs:VerifiedDatasets", "speedrun data verify --json"),
    "data-prepare-output": Form("harness.outputs:PreparedDataset", "speedrun data prepare, download --json"),
    "data-info-output": Form("data.tokenize.inspection:Inspection", "speedrun data info --json"),
    "data-made-output": Form("harness.outputs:MadeDataset", "speedrun data tokenize, import --json"),
}


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of this name. Raises UserError for another name."""
    from pydantic import TypeAdapter

    if name not in FORMS:
        raise UserError(f"expected one of the schemas {', '.join(FORMS)}, found {name!r}")
    form = FORMS[name]
    module, _, attribute = form.model.partition(":")
    model = getattr(importlib.import_module(module), attribute)
    found: dict[str, Any] = _closed(TypeAdapter(model).json_schema())
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, "$comment": form.describes}
    return head | found


def path_of(name: str) -> Path:
    """Where the schema lies."""
    return layout.SCHEMAS / f"{name}.json"


def write_schemas() -> list[Path]:
    """Write every schema; returns the files that were not as they are now."""
    layout.SCHEMAS.mkdir(parents=True, exist_ok=True)
    changed = []
    for name in FORMS:
        value, path = schema(name), path_of(name)
        if not path.is_file() or json.loads(path.read_text()) != value:
            layout.write_json(path, value)
            changed.append(path)
    return changed


def _closed(value: Any) -> Any:
    """The same schema with every object closed: dataclasses and dicts with names are as strict as the models."""
    if isinstance(value, list):
        return [_closed(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    titled = isinstance(value.get("title"), str)  # what pydantic makes of a name says nothing new
    found = {key: _closed(inner) for key, inner in value.items() if not (titled and key == "title")}
    if found.get("type") == "object" and isinstance(found.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    return found

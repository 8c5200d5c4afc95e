"""speedrun schemas: JSON Schemas of everything on disk and of every `--json` output, from the models themselves.

They lie in docs/schemas/, for programs that are not ours; `speedrun schemas --write` makes them anew and a test holds
them fresh. A schema is closed: a key it does not name is an error.
"""

import importlib
import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from harness.errors import UserError
from harness.formats import layout


class Form(NamedTuple):
    """One schema: the model it comes from, and what it describes."""

    model: str  # module:name, imported when it is asked for: like the commands, of any package
    describes: str


# To add one: a line here, then `speedrun schemas --write`.
FORMS = {
    "run": Form("harness.formats.run:RunRecord", "run.json"),
    "plan": Form("harness.campaigns.campaign:Plan", "the plan of a campaign, in the first line of its ledger"),
    "ledger-entry": Form("harness.campaigns.ledger:Entry", "one line of ledger.jsonl"),
    "statement": Form("harness.records.record:Statement", "record.json"),
    "reported-statement": Form("harness.records.reported:ReportedStatement", "reported.json"),
    "verdict": Form("harness.records.verdict:Verdict", "verdict.json"),
    "digests": Form("harness.records.tree_digest:TreeDigests", "records/digests.json"),
    "manifest": Form("harness.records.manifest:Manifest", "manifest.json"),
    "challenge": Form("harness.records.challenge:ChallengeStatement", "challenge.json"),
    "track": Form("harness.formats.track:Track", "track.toml"),
    "dataset": Form("data.datasets:Dataset", "a manifest of a dataset, as TOML"),
    "legacy": Form("harness.selftimed.record:SelfTimedRecord", "legacy.json"),
    "refusal-output": Form("harness.cli.json_types:Refusal", "any command that fails with --json"),
    "run-output": Form("harness.cli.json_types:RunOutput", "speedrun run --json"),
    "legacy-output": Form("harness.cli.json_types:LegacyOutput", "speedrun run --legacy --json"),
    "dry-run-output": Form("harness.cli.json_types:DryRun", "speedrun run --dry-run --json"),
    "campaign-output": Form(
        "harness.campaigns.summary:CampaignSummary", "speedrun run --runs N --json, speedrun compare --json"
    ),
    "campaign-dry-run-output": Form("harness.cli.json_types:CampaignDryRun", "the same with --dry-run"),
    "plan-output": Form("harness.campaigns.forecast:Forecast", "speedrun plan --json"),
    "submit-output": Form("harness.cli.json_types:AnySubmitted", "speedrun submit --json"),
    "verify-output": Form("harness.cli.json_types:Verification", "speedrun verify --json"),
    "challenge-output": Form("harness.cli.json_types:Challenged", "speedrun challenge --json"),
    "reproduction-output": Form(
        "harness.records.reproduction:Reproduction", "speedrun reproduce --json of a record of ours"
    ),
    "rules-output": Form("harness.cli.json_types:TrackRules", "speedrun rules --json"),
    "leaderboard-output": Form("leaderboard.text.exports:Leaderboard", "speedrun leaderboard --json"),
    "claims-output": Form("leaderboard.text.claim_tables:ClaimList", "speedrun leaderboard --claims --json"),
    "history": Form("leaderboard.upstream.history:History", "history.json"),
    "open-claims": Form("leaderboard.upstream.open_claims:ClaimBoard", "claims.json"),
    "show-output": Form("leaderboard.board.shown:AnyShown", "speedrun show --json"),
    "plot-output": Form("leaderboard.cli.plot:AnyPlotted", "speedrun plot progress, curves, noise --json"),
    "watch-output": Form("leaderboard.cli.watch:AnyWatched", "speedrun watch --json"),
    "close-output": Form("leaderboard.cli.close:ClosedRun", "speedrun close --json"),
    "readme-output": Form("leaderboard.cli.readme:WrittenTables", "speedrun readme --json"),
    "site-build-output": Form("leaderboard.site.building:Built", "speedrun site build --json"),
    "log-output": Form("leaderboard.cli.json_types:ReadLog", "speedrun log --json"),
    "audit-output": Form("leaderboard.cli.audit:Audited", "speedrun audit --json"),
    "import-output": Form("leaderboard.cli.importing:ImportedTracks", "speedrun import --json"),
    "reproduction-plan-output": Form("leaderboard.cli.json_types:AnyPlanned", "speedrun reproduce --dry-run --json"),
    "replay-output": Form("leaderboard.cli.json_types:AnyReplayed", "speedrun reproduce --json of imported records"),
    "tracks-output": Form("harness.cli.json_types:ListedTracks", "speedrun tracks --json"),
    "doctor-output": Form("harness.cli.json_types:Examination", "speedrun doctor --json"),
    "node-check": Form("harness.formats.node_check:NodeCheck", "node_check.json, speedrun doctor --race --json"),
    "node-check-dry-run-output": Form("harness.cli.json_types:NodeRace", "speedrun doctor --race --dry-run --json"),
    "data-list-output": Form("harness.cli.json_types:DatasetList", "speedrun data list --json"),
    "data-verify-output": Form("harness.cli.json_types:VerifiedDatasets", "speedrun data verify --json"),
    "data-prepare-output": Form("harness.cli.json_types:PreparedDataset", "speedrun data prepare, download --json"),
    "data-info-output": Form("data.tokenize.inspection:Inspection", "speedrun data info --json"),
    "data-made-output": Form("harness.cli.json_types:MadeDataset", "speedrun data tokenize, import --json"),
}


def schemas(
    name: Annotated[str | None, typer.Argument(help="Print this one.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write all of them to docs/schemas/.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of them, as one object by name.")] = False,
) -> None:
    """List, print or write the JSON Schemas: what a program that is not ours may rely on.

    They come from the models that read and write the files, so they are never behind them.
    """
    if write:
        changed = write_schemas()
        print("\n".join([*map(str, changed), f"{len(changed)} of {len(FORMS)} written to {layout.SCHEMAS}"]))
    elif name is not None:
        print(json.dumps(schema(name), indent=1))
    elif as_json:
        print(json.dumps({name: schema(name) for name in FORMS}, indent=1))
    else:
        table = Table("schema", "describes", box=box.SIMPLE_HEAD, pad_edge=False)
        for known, form in FORMS.items():
            table.add_row(known, form.describes)
        Console().print(table)


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

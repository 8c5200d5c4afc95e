"""speedrun challenge: attach a reproduction or a refutation to a record."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from data.printing import printable

from ..errors import UserError
from ..formats import layout
from ..records.challenge import Kind
from ..records.challenging import attach
from ..records.record import read_record
from ..system import clock
from .reports import findings_json


def challenge(
    record: Annotated[Path, typer.Argument(help="The record's folder, or <track>/<name>.")],
    bundle: Annotated[Path, typer.Argument(help="The folder of your campaign with the record's source.")],
    author: Annotated[str, typer.Option(help="Who ran it.")],
    key: Annotated[Path | None, typer.Option(help="SSH key that signs it; the tier `reproduced` needs one.")] = None,
    relabelled: Annotated[
        Path | None, typer.Option(help="A campaign of the same source with --relabel; `reproduced` needs one.")
    ] = None,
    reproduces: Annotated[bool, typer.Option("--reproduces", help="Refuse unless it is a reproduction.")] = False,
    refutes: Annotated[bool, typer.Option("--refutes", help="Refuse unless it is a refutation.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, attach nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Attach your own campaign of a record's source to the record. The record's own files never change.

    Whether it reproduces or refutes follows from the runs: it reproduces when the losses pass the track's test again,
    and refutes when a run fails, when their mean misses the target, or when it was raced and is slower. The record's
    tier becomes `reproduced` by a reproduction of other seeds, at no weaker sandbox and under the same rules, with a
    relabelled run beside it, that is signed by another allowed signer than the record.
    """
    if reproduces and refutes:
        raise UserError("expected --reproduces or --refutes, found both; without either it is derived from the runs")
    expected: Kind | None = "reproduction" if reproduces else "refutation" if refutes else None
    folder = record if record.is_dir() else layout.records_root() / record
    if not folder.is_dir():
        known = "`speedrun leaderboard --json` names them"
        raise UserError(f"expected a record, TRACK/NAME or its folder, found none at {folder}; {known}")
    place, attached = attach(
        folder, bundle, author=author, day=clock.utc_now().date(), key=key, expected=expected, dry_run=dry_run,
        relabelled=relabelled,
    )  # fmt: skip
    after = read_record(folder)
    tier, kinds = after.tier, [found.kind for found in after.challenges if found.is_intact]
    counts = {"reproductions": kinds.count("reproduction"), "refutations": kinds.count("refutation")}
    assert attached.statement is not None
    if as_json:
        result = {
            "record": folder.name, "challenge": str(place), "kind": attached.kind,
            "sentence": attached.statement.sentence, "signature": attached.signature.status,
            "written": not dry_run, "tier": tier, "campaigns": counts,
            "findings": findings_json(attached.findings),
        }  # fmt: skip
        print(json.dumps(result, indent=1))
        return
    console = Console()
    style = "bold green" if attached.kind == "reproduction" else "bold red"
    console.print(Text.assemble((str(attached.kind), style), f" of {folder.name}: {attached.statement.sentence}"))
    console.print(Text(printable(f"  {attached.signature}; the record's tier is {tier}")), soft_wrap=True)
    told = ", ".join(f"{count} {kind if count != 1 else kind[:-1]}" for kind, count in counts.items())
    console.print(Text(f"  campaigns besides the record's own: {told}"), soft_wrap=True)
    console.print(Text("  nothing was attached (--dry-run)" if dry_run else f"  attached: {place}"), soft_wrap=True)

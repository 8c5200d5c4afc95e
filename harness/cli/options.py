"""Options that the commands which start runs have in common, each with its help."""

from pathlib import Path
from typing import Annotated

import typer

TrackName = Annotated[str | None, typer.Option("--track", help="A track of `speedrun tracks`, or a path to one.")]
Ranks = Annotated[int | None, typer.Option("--nproc", help="Ranks; the track's own number by default.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for what is made; runs/ of the checkout by default.")]
CopyTo = Annotated[
    Path | None,
    typer.Option("--copy-to", help="A folder on another disk: a second copy of a campaign, kept up to date."),
]
KeepWeights = Annotated[bool, typer.Option("--keep-weights", help="Save weights.safetensors beside run.json.")]
Sandbox = Annotated[str | None, typer.Option("--require-sandbox", help="A sandbox level: refuse to run with less.")]
Wait = Annotated[
    bool | None,
    typer.Option("--wait/--no-wait", help="Wait while another run holds this machine; campaigns do by default."),
]
Anyway = Annotated[bool, typer.Option("--anyway", help="Also a campaign that cannot become a record here.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, say what would run; start nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print the record, or a campaign's summary, as JSON on stdout.")]

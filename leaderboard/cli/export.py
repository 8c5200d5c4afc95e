"""speedrun export: a campaign of self-timed scripts as others review it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.cli.reports import show_findings
from harness.formats.run import errors_of

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
    help="Write a campaign of scripts that time themselves in the form in which others review it.",
)  # fmt: skip


@app.callback()
def export() -> None:
    """Write a campaign of scripts that time themselves in the form in which others review it."""


@app.command()
def upstream(
    campaign: Annotated[Path, typer.Argument(help="A closed campaign of `compare --legacy` or `run --legacy --runs`.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make; it must not exist.")],
) -> None:
    """A folder as modded-nanogpt reviews it: this_pr/, baseline/, logs by uuid, statistics.md, README.md.

    Every log begins with its script's source, every attempt is there, and statistics.md has the digest of every file.
    What the change is and why it works is for you to write, in README.md. Exit code 1: the campaign has errors, which
    statistics.md tells too.
    """
    from ..upstream.exporting import export_for_upstream

    count, findings = export_for_upstream(campaign, folder)
    console = Console()
    console.print(f"{count} logs in {folder}", soft_wrap=True, highlight=False, markup=False)
    show_findings(console, findings)
    raise typer.Exit(int(bool(errors_of(findings))))

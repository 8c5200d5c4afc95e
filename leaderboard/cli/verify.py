"""speedrun verify: records, tracks and bundles, with what was imported, against their digests and against others."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.verify import present
from harness.errors import UserError
from harness.formats import layout
from harness.records.tree_digest import write_digests
from harness.records.verification import verify_against, verify_each

from ..upstream.verifying import imported_findings


def verify(
    paths: Annotated[list[Path], typer.Argument(help="Records, tracks, folders of tracks, or bundles.")],
    against: Annotated[
        str | None,
        typer.Option("--against", help="Another checkout, its records or digests.json, or a signed tag of this one."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write-digests", help="Write digests.json of a folder of tracks, and nothing else.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Make training shards anew too, where runs spoke languages of their own.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="A summary for the comment of a pull request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Derive everything again from the raw runs, and say what does not hold.

    Of a record: every byte against its manifest, its signature, the chain of its ledger, digests of runs, source and
    track, every relation between two of its numbers, the package lock, evidence, findings, waivers, size, its baseline
    and its challenges. Of a bundle: its ledger, runs and source. Of both, where runs spoke languages of their own: that
    each follows from the secret of its campaign, and that their validation text, made anew, is the one that was scored.
    Of a track: what was imported, row by row. Of a folder
    of tracks: every file against digests.json. Whoever may edit the tree can edit that file too; --against holds the
    tree against a copy they cannot reach. Exit code 0 only if all of it holds, 1 if not, 2 for a path that is neither.
    """
    if write:
        for root in paths:
            if not any(root.glob(f"*/{layout.TRACK_FILE}")):
                raise UserError(f"expected a folder of tracks with --write-digests, found none at {root}")
            typer.echo(f"{write_digests(root)}  {root / layout.DIGESTS_FILE}")
        return
    held = [] if against is None else [verify_against(path, against) for path in paths]
    present(chain(held, verify_each(paths, imported_findings, deep=deep)), markdown, as_json)

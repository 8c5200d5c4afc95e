"""speedrun close: a run that says it is in progress, and whose referee is gone with its host or container."""

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from data.printing import printable
from harness.cli import options
from harness.cli.answers import json_text
from harness.errors import UserError
from harness.formats import layout
from harness.formats.run import is_gone, read_run
from harness.formats.run_folder import close_for
from harness.formats.section import Section
from harness.status import Status

from ..board.watching import find_watched

Yes = Annotated[bool, typer.Option("--yes", help="Its referee is gone: I know, though nobody can see it from here.")]


class ClosedRun(Section):
    """speedrun close"""

    run: str
    folder: str
    status: str
    sentence: str


def close(
    run: Annotated[str, typer.Argument(help="A run: id, part of it, or folder.")],
    yes: Yes = False,
    as_json: options.Json = False,
) -> None:
    """Write `abandoned` into a run whose referee was killed, and give back the space that it had reserved.

    The next run does that by itself wherever it can see that a referee is gone: on its own host, also of other
    containers there. Of a host or a container that shares the folder and no more, only you know: say --yes. Were it
    alive after all, its own last record would still take the place of this one.
    """
    folder = find_watched(run)
    if (folder / layout.LEDGER_FILE).exists():
        raise UserError(
            f"expected a run, found a campaign at {folder}; `speedrun run --resume {folder}` settles what it left open"
        )
    record = read_run(folder)
    if not (folder / layout.RESERVE_FILE).exists() and record.status not in (Status.STARTED, Status.ABANDONED):
        raise UserError(
            f"expected a run that says it is in progress, found that {folder.name} ended as {record.status}"
        )
    gone = is_gone(record.owner, folder / layout.RESERVE_FILE, record.started_at)
    who = f"process {record.owner.pid} on {record.owner.host}"
    if gone is False:
        raise UserError(f"expected a run whose referee is gone, found it at work: {who}; end it there, by SIGTERM")
    if gone is None and not yes:
        raise UserError(
            f"expected --yes, since nobody can see from here whether {who} is gone; found none: say it if you know"
        )
    sentence = record.sentence if gone else f"closed by hand: its referee, {who}, is gone; nothing of it counts"
    closed = close_for(folder, sentence)
    if as_json:
        print(
            json_text(
                ClosedRun(run=closed.run_id, folder=str(folder), status=str(closed.status), sentence=closed.sentence)
            )
        )
    else:
        Console().print(Text(printable(f"{closed.run_id}: {closed.status}: {closed.sentence}")), soft_wrap=True)

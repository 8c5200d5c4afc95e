"""speedrun readme: the tables of standings between the markers of a README.

<!-- leaderboard:nano-2cpu -->        or <!-- leaderboard:gpt2-small-8xh100 10 --> for the newest ten records
(written here)
<!-- /leaderboard -->
"""

import re
from pathlib import Path
from typing import Annotated

import typer

from data.files import replace_file
from harness.cli.answers import json_text
from harness.errors import UserError
from harness.formats import layout
from harness.formats.section import Section
from harness.formats.track import load_track
from harness.status import ExitCode
from harness.system.plainfile import read_plain

from ..board.board import read_board
from ..text.markdown import standings_table
from ..text.tables import legend

MAX_README_BYTES = 4 * 2**20
_OPENING = re.compile(r"^<!-- leaderboard:(?P<track>[a-z0-9-]+)(?: (?P<most>[1-9]\d{0,3}))? -->$", re.MULTILINE)
_CLOSING = re.compile(r"^<!-- /leaderboard -->$", re.MULTILINE)
_ANY = re.compile(r"^<!--\s*/?\s*leaderboard\b.*$", re.MULTILINE)


class WrittenTables(Section):
    """speedrun readme"""

    file: str
    tracks: list[str]
    changed: bool  # the tables are not as they were
    written: bool


def readme(
    file: Annotated[Path, typer.Argument(help="The Markdown file.")] = layout.ROOT / layout.README_FILE,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where a table is out of date.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Write the tables between the markers of README.md; everything outside them stays byte for byte.

    A table stands between the lines `<!-- leaderboard:TRACK -->` and `<!-- /leaderboard -->`. A number after the track,
    as in `<!-- leaderboard:TRACK 10 -->`, shows the newest ten records.
    """
    before = read_plain(file, MAX_README_BYTES)
    after, tracks = rewritten(before, str(file))
    if after != before and not check:
        replace_file(file, [after])
    stale = after != before
    if as_json:
        answer = WrittenTables(file=str(file), tracks=tracks, changed=stale, written=stale and not check)
        print(json_text(answer, indent=None))
    elif not tracks:
        print(f"{file}: no markers; put <!-- leaderboard:TRACK --> and <!-- /leaderboard --> on lines of their own")
    else:
        state = "out of date; `speedrun readme` writes it" if check and stale else "written" if stale else "up to date"
        print(f"{file}: {', '.join(tracks)}: {state}")
    if check and stale:
        raise typer.Exit(ExitCode.MISSED)


def rewritten(content: bytes, name: str) -> tuple[bytes, list[str]]:
    """A Markdown file with its tables as they are now, and the tracks they are of. Raises UserError for odd markers."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"expected UTF-8 in {name}, found another encoding; save it as UTF-8") from error
    ending = "\r\n" if "\r\n" in text else "\n"
    unix = text.replace("\r\n", "\n") if ending == "\r\n" else text
    parts, tracks, position = [], [], 0
    while (opening := _OPENING.search(unix, position)) is not None:
        closing = _CLOSING.search(unix, opening.end())
        between = _OPENING.search(unix, opening.end())
        if closing is None or (between is not None and between.start() < closing.start()):
            raise UserError(f"expected <!-- /leaderboard --> after {opening[0]} in {name}, found none; add it")
        table = "\n".join(section(opening["track"], int(opening["most"]) if opening["most"] else None))
        parts += [unix[position : opening.end()], f"\n{table}\n", closing[0]]
        tracks.append(opening["track"])
        position = closing.end()
    _check_markers(unix, len(tracks), name)
    whole = "".join(parts) + unix[position:]
    return (whole.replace("\n", "\r\n") if ending == "\r\n" else whole).encode(), tracks


def section(track: str, most: int | None = None) -> list[str]:
    """The lines between two markers: the records of a track, newest first, and what the columns mean."""
    contest = load_track(track)
    held = read_board(contest).held
    shown = held if most is None else held[-most:]
    lines = standings_table(shown, contest)
    if len(shown) < len(held):
        lines += [
            "",
            f"The newest {len(shown)} of {len(held)} records; `speedrun leaderboard --track {track}` has all.",
        ]
    return [*lines, *(["", legend(shown, contest)] if shown else [])]


def _check_markers(text: str, pairs: int, name: str) -> None:
    """A marker that is misspelt or alone must not silently leave a stale table."""
    found = _ANY.findall(text)
    if len(found) != 2 * pairs:
        known = (_OPENING, _CLOSING)
        odd = next((line for line in found if not any(form.fullmatch(line) for form in known)), found[-1])
        raise UserError(
            f"expected the markers of {name} in pairs, <!-- leaderboard:TRACK --> and <!-- /leaderboard --> on lines "
            f"of their own, found {odd.strip()!r} too many"
        )

"""The last frames of a submission's own files before it raised, as its log has them: untrusted, for display only."""

import os
import re
from pathlib import Path

TAIL_BYTES = 2**18  # of the log
MOST_FRAMES = 3
MOST_LINES = 4  # of source and marks below a frame
MOST_CHARACTERS = 300  # of a line

_START = re.compile(r"Traceback \(most recent call last\):\s*$")
_FRAME = re.compile(r'^\s*File "(?P<path>[^"]+)", line (?P<line>\d+)(?P<where>, in .*)?$')
_OWN = re.compile(r"/speedrun-[0-9a-f]+-\d+-\d+-[^/]+/(?!inside/)[^/]+/(?P<name>.+)$")  # below a run's scratch folder


def last_frames(log: Path, sentence: str) -> str | None:
    """Up to three frames of the submission's own files, and the error; None where the log holds none.

    Of several ranks or chained errors, the last one whose error stands in the run's sentence, else the last one.
    """
    blocks = [block for block in _blocks(_tail(log)) if block.frames]
    if not blocks:
        return None
    told = [block for block in blocks if block.error and block.error[:60] in sentence]
    return (told or blocks)[-1].text()


class _Block:
    """One traceback: frames of own files, each with the lines below it, and the error."""

    def __init__(self) -> None:
        self.frames: list[list[str]] = []
        self.error = ""

    def text(self) -> str:
        lines = [line for frame in self.frames[-MOST_FRAMES:] for line in frame]
        return "\n".join([*lines, self.error] if self.error else lines)


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read(TAIL_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return []


def _blocks(lines: list[str]) -> list[_Block]:
    """Every traceback among the lines; a syntax error's, which may have no first line, too."""
    found: list[_Block] = []
    block, is_own = _Block(), False
    for line in lines:
        if _START.search(line):
            found.append(block)
            block, is_own = _Block(), False
        elif (frame := _FRAME.match(line)) is not None:
            own = _OWN.search(frame["path"])
            is_own = own is not None
            if own is not None:
                shown = f'  File "{own["name"]}", line {frame["line"]}{frame["where"] or ""}'
                block.frames.append([shown[:MOST_CHARACTERS]])
        elif line.startswith(" ") or not line.strip():
            if is_own and line.strip() and len(block.frames[-1]) <= MOST_LINES:
                block.frames[-1].append(line[:MOST_CHARACTERS])
        elif block.frames and not block.error:
            block.error, is_own = line[:MOST_CHARACTERS], False
            found.append(block)
            block = _Block()
    return [*found, block]

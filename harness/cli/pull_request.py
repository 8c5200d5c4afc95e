"""The pull request by which what was handed in here reaches everybody: the commands that open it."""

import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

from data.printing import printable

from ..formats import layout
from ..formats.run import Finding


def pull_request_steps(folder: Path, branch: str, subject: str) -> list[str]:
    """Commands that commit a new folder of this checkout on a branch of its own, and where that is opened."""
    paths = [folder]
    digests = next((p / layout.DIGESTS_FILE for p in folder.parents if (p / layout.DIGESTS_FILE).is_file()), None)
    if digests is not None:  # it holds the new files too, and verification refuses a tree that differs from it
        paths.append(digests)
    inside = [path.relative_to(layout.ROOT) if path.is_relative_to(layout.ROOT) else path for path in paths]
    tree = [] if digests is None else [f"  speedrun verify {shlex.quote(str(inside[1].parent))} --write-digests"]
    return [
        *tree,
        f"  git switch -c {branch}",
        f"  git add {' '.join(shlex.quote(str(path)) for path in inside)}",
        f"  git commit -m {shlex.quote(subject)}",
        "  git push -u origin HEAD",
        f"  then open {_compare_link(branch)}; CI runs `speedrun verify` and comments its summary",
    ]


def show_end(console: Console, folder: Path, errors: Sequence[Finding], steps: Sequence[str] | None) -> None:
    """What became of something handed in, and the steps that come next; None: it was not written."""
    if errors:
        console.print(Text("nothing was written: an error-level finding stands", style="bold red"))
    elif steps is None:
        console.print("nothing was written (--dry-run)")
    else:
        console.print(Text(f"written and verified: {folder}", style="bold green"), soft_wrap=True)
        for line in steps:
            console.print(Text(line), soft_wrap=True)


def _compare_link(branch: str) -> str:
    """The page of the origin that opens a pull request, or words where the origin is not on the web."""
    with suppress(OSError, subprocess.SubprocessError):
        git = ["git", "-C", str(layout.ROOT), "remote", "get-url", "origin"]
        url = subprocess.run(git, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        host, _, path = url.removeprefix("https://").removeprefix("ssh://").removeprefix("git@").partition("/")
        if ":" in host:  # git@host:owner/name
            host, _, owner = host.partition(":")
            path = f"{owner}/{path}"
        if host and path and "@" not in host and printable(url) == url:
            return f"https://{host}/{path.removesuffix('.git')}/compare/{branch}?expand=1"
    return "a pull request from that branch"

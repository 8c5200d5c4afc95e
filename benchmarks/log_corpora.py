"""How many logs of others are read: python -m benchmarks.log_corpora NAME=FOLDER_OR_GIT_DIRECTORY ...

Every file of a snapshot that a person would call a log counts, none left out by name: one that ends in .log, .out,
.stdout or .txt and holds two results or more. With --history those of every commit of every branch and pull request
count, each text once. Read means that the last step and its value are what an independent search of the file finds, ten
lines that know no grammar. `--json` gives the numbers of each file, where the golden ones in the tests come from.
"""

import argparse
import json
import re
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from harness.selftimed.logs import read_log
from harness.selftimed.training_log import TrainingLog

SUFFIXES = (".log", ".out", ".stdout", ".txt")
MANY_RESULTS = re.compile(rb"(?:(?:loss|bpb)[\"']?[:= ]{1,3}|\btel:)[0-9.]+", re.IGNORECASE)
NUMBER = r"([-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf))"


def search(text: str) -> tuple[int, float] | None:
    """The last step of a file and a value of its validation, by a plain search for the two side by side."""
    last = None
    for line in text.replace("\r", "\n").split("\n"):
        step = re.search(r"(?i)\bs(?:tep)?[: ]\s*(\d+)\b|\b(\d+)/\d+ val_loss", line)
        value = re.search(rf"(?i)(?:val[_ ]loss|validation bpb|val bpb|tel):? ?{NUMBER}(?![\w])", line)
        if step and value and step.start() < value.start() and "{" not in line:
            last = (int(step[1] or step[2]), float(value[1]))
    return last


def is_log(path: str, content: bytes) -> bool:
    """Whether a person would call it a log: printed by a trainer, not a page, a list or a paper's build."""
    return path.endswith(SUFFIXES) and len(MANY_RESULTS.findall(content)) >= 2


def outcome(log: TrainingLog) -> tuple[int, list[float]] | None:
    """The last validation of a log as it is read: its step, and its loss and bits per byte."""
    points = [point for run in log.runs for point in run.validations]
    if not points or points[-1].step is None:
        return None
    return points[-1].step, [x for x in (points[-1].val_loss, points[-1].val_bpb) if x is not None]


def files(source: Path, *, history: bool = False, only: Collection[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """Every file of a folder, or of the newest commit of a git directory (history: of all commits).

    only: the names that are wanted.
    """
    if not (source / "HEAD").is_file():
        for path in sorted(path for path in source.rglob("*") if path.is_file() and not path.is_symlink()):
            yield str(path.relative_to(source)), path.read_bytes()
        return
    git = ["git", "--git-dir", str(source)]
    if history:
        listing = subprocess.run(
            [*git, "rev-list", "--all", "--objects", "--missing=allow-any"], capture_output=True, check=True
        ).stdout
        for row in listing.splitlines():
            blob, _, path = row.decode(errors="replace").partition(" ")
            if path.endswith(SUFFIXES) and (only is None or path in only):
                found = subprocess.run([*git, "cat-file", "blob", blob], capture_output=True, check=False)
                if found.returncode == 0:
                    yield path, found.stdout
        return
    listing = subprocess.run([*git, "ls-tree", "-r", "-z", "HEAD"], capture_output=True, check=True).stdout
    for row in filter(None, listing.split(b"\0")):
        about, _, name = row.partition(b"\t")
        path = name.decode(errors="replace")
        if path.endswith(SUFFIXES) and (only is None or path in only):
            blob = about.split()[2].decode()
            yield path, subprocess.run([*git, "cat-file", "blob", blob], capture_output=True, check=False).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", metavar="NAME=PATH")
    parser.add_argument("--history", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for name, _, path in (source.partition("=") for source in args.sources):
        logs = read = without = 0
        for file, content in files(Path(path), history=args.history):
            if not is_log(file, content):
                continue
            log = read_log([content])
            expected, found = search(content.decode(errors="replace")), outcome(log)
            is_right = expected is not None and found is not None
            is_right = is_right and found[0] == expected[0] and str(expected[1]) in map(str, found[1])  # type: ignore[index]
            logs, read, without = logs + 1, read + is_right, without + (expected is None and found is None)
            rows.append({"source": name, "file": file, "expected": expected, "found": found, "read": is_right,
                         "grammar": log.grammar.name if log.grammar else None})  # fmt: skip
            if not is_right and not args.json:
                print(f"  not read: {file}: a search finds {expected}, the reader {found}")
        if not args.json:
            print(f"{name}: {read} of {logs} logs read, {without} of the rest hold no validation at all")
    if args.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

"""How fast a long board is shown: `speedrun leaderboard` over 1,000 records with 5,000 runs.

    python -m benchmarks.leaderboard_speed [--records 1000] [--runs 5] [--repeats 9] [--folder DIR] [--json]

The records are copies of one invented campaign under other names, dates and titles: read, checked and placed like any
other. Whole commands in new processes, output thrown away. `first` derives every record and writes the index; `cold` is
the command as a user meets it, with the index; `changed` the same after one record was touched; `json` is `cold` with
--json, which prints every row. CPU is user and system time: what a busy machine does not stretch. With --folder the
tree is kept, and taken up again.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "tests" / "tracks" / "tiny" / "track.toml"
MOST_S = 1.5  # of a cold start


class Taken(NamedTuple):
    """Seconds of one whole command."""

    wall_s: float
    cpu_s: float


def make_tree(folder: Path, records: int, runs: int) -> None:
    """records/tiny below `folder`, with so many records; what is there already stays."""
    from harness.records.submitting import Claims, draft, write
    from tests.bundles import make_bundle

    track = folder / "records" / "tiny"
    if not track.exists():
        track.mkdir(parents=True)
        shutil.copy(TINY, track / "track.toml")
        os.environ["SPEEDRUN_RECORDS"] = str(track.parent)
        times = tuple(2.0 + 0.01 * i for i in range(runs))
        losses = tuple(5.0 + 0.01 * i for i in range(runs))
        bundle = make_bundle(folder / "bundle", candidate_times=times, candidate_losses=losses)
        made = draft(bundle, Claims(title="Template", authors=("Ada",), date=date(2026, 1, 3)), None)
        write(made, None)
        made.folder.rename(folder / "template")
    template = folder / "template"
    statement = json.loads((template / "record.json").read_bytes())
    for number in range(records):
        day = date(2000, 1, 1) + timedelta(days=number)
        place = track / f"{day}_Record{number}"
        if place.exists():
            continue
        shutil.copytree(template, place)
        said = statement | {"name": place.name, "date": str(day), "title": f"Record number {number}"}
        (place / "record.json").write_text(json.dumps(said))


def measure(folder: Path, *arguments: str) -> Taken:
    """One whole command in a process of its own."""
    world = {
        "SPEEDRUN_RECORDS": folder / "records",
        "SPEEDRUN_RUNS": folder / "runs",
        "SPEEDRUN_CACHE": folder / "cache",
    }
    command = [sys.executable, "-m", "harness", "leaderboard", "--track", "tiny", *arguments]
    before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command, cwd=ROOT, env=os.environ | {k: str(v) for k, v in world.items()}, check=True, stdout=subprocess.DEVNULL
    )
    wall_s, after = time.perf_counter() - started_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure_all(folder: Path, repeats: int) -> dict[str, list[Taken]]:
    """Each kind of start, in an order in which each finds what the one before left."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    time.sleep(3)  # what has just been written is not remembered
    found = {"first": [measure(folder)]}
    found["cold"] = [measure(folder) for _ in range(repeats)]
    found["json"] = [measure(folder, "--json") for _ in range(repeats)]
    found["changed"] = []
    for _ in range(repeats):
        os.utime(next((folder / "records" / "tiny").glob("*_Record1/record.json")))
        found["changed"].append(measure(folder))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        make_tree(folder, options.records, options.runs)
        found = measure_all(folder, options.repeats)
    counts = {"records": options.records, "runs": options.records * options.runs}
    if options.json:
        print(json.dumps(counts | {name: [one._asdict() for one in taken] for name, taken in found.items()}))
        return
    print(f"{counts['records']:,} records, {counts['runs']:,} runs; a cold start may take {MOST_S} s\n")
    print(f"{'':<10} {'median':>8} {'least':>8} {'most':>8} {'CPU':>8} {'times':>6}")
    for name, taken in found.items():
        walls = [one.wall_s for one in taken]
        seconds = (statistics.median(walls), min(walls), max(walls), statistics.median(one.cpu_s for one in taken))
        print(f"{name:<10} {' '.join(f'{value:>6.2f} s' for value in seconds)} {len(taken):>6}")


if __name__ == "__main__":
    main()

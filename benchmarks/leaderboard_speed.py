"""How fast a long board is shown: `speedrun leaderboard` over 10,000 records with 50,000 runs.

    python -m benchmarks.leaderboard_speed [--records 10000] [--runs 5] [--repeats 5] [--folder DIR] [--json]

The records are copies of one invented campaign under other names, dates and titles: read, checked and placed like any
other. Whole commands in new processes, output thrown away. `first` derives every record and writes the index; `cold` is
the command as a user meets it, with the index; `changed` the same after one record was touched. With --folder the tree
is kept, and taken up again.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "tests" / "tracks" / "tiny" / "track.toml"


def make_tree(folder: Path, records: int, runs: int) -> None:
    """records/tiny below `folder`, with so many records; what is there already stays."""
    from harness.submitting import Claims, draft, write
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


def measure(folder: Path, *arguments: str) -> float:
    """Seconds of one whole command."""
    world = {
        "SPEEDRUN_RECORDS": folder / "records",
        "SPEEDRUN_RUNS": folder / "runs",
        "SPEEDRUN_CACHE": folder / "cache",
    }
    command = [sys.executable, "-m", "harness", "leaderboard", "--track", "tiny", *arguments]
    started_s = time.perf_counter()
    subprocess.run(
        command, cwd=ROOT, env=os.environ | {k: str(v) for k, v in world.items()}, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        make_tree(folder, options.records, options.runs)
        shutil.rmtree(folder / "cache", ignore_errors=True)
        time.sleep(1)  # what has just been written is not remembered
        found = {"first_s": [measure(folder)]}
        found["cold_s"] = [measure(folder) for _ in range(options.repeats)]
        os.utime(next((folder / "records" / "tiny").glob("*_Record1/record.json")))
        time.sleep(1)
        found["changed_s"] = [measure(folder)]
    result = {"records": options.records, "runs": options.records * options.runs, **found}
    if options.json:
        print(json.dumps(result))
        return
    print(f"{options.records:,} records, {options.records * options.runs:,} runs")
    for name, values in found.items():
        spread = f"({min(values):.2f} to {max(values):.2f}, {len(values)} times)"
        print(f"  {name:<10} {statistics.median(values):7.2f}  {spread}")


if __name__ == "__main__":
    main()

"""How fast the web site is built, how heavy its pages are, and how soon a browser shows them.

    python -m benchmarks.site_speed [--repeats 3] [--json]

Whole commands, over a copy of records/ in a scratch folder: a first build; one with nothing changed; one after a word
in a record's README; one after a track's imported history was written again. Then the first contentful paint of the
heaviest pages in a headless Chromium, from disk, each in a fresh context, where there is one.
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
from pathlib import Path

from leaderboard.site import screenshots

ROOT = Path(__file__).resolve().parent.parent
HEAVIEST = 8
PAINT = """() => new Promise((done) => {
    const seen = () => performance.getEntriesByName('first-contentful-paint')[0]?.startTime;
    const look = () => seen() === undefined ? setTimeout(look, 10) : done(seen());
    look();
})"""


def build(records: Path, out: Path) -> float:
    """Seconds of one `speedrun site build`, its start included."""
    environment = os.environ | {"SPEEDRUN_RECORDS": str(records)}
    command = [sys.executable, "-m", "harness", "site", "build", "--out", str(out)]
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def change_prose(records: Path) -> None:
    readme = next(iter(sorted(records.glob("*/*/README.md"))))
    readme.write_text(readme.read_text() + "\nA word more.\n")


def rewrite_history(records: Path) -> None:
    path = next(iter(sorted(records.glob("*/history.json"), key=lambda p: -p.stat().st_size)))
    path.write_bytes(path.read_bytes() + b"\n")


def rounds(repeats: int, scratch: Path) -> dict[str, list[float]]:
    """Seconds of every kind of build, one entry for each repeat."""
    found: dict[str, list[float]] = {"first": [], "nothing changed": [], "one record's prose": [], "one history": []}
    for number in range(repeats):
        records, out = scratch / f"records-{number}", scratch / f"site-{number}"
        shutil.copytree(ROOT / "records", records)
        found["first"].append(build(records, out))
        found["nothing changed"].append(build(records, out))
        change_prose(records)
        found["one record's prose"].append(build(records, out))
        rewrite_history(records)
        found["one history"].append(build(records, out))
    return found


def paints(pages: list[Path]) -> dict[str, float]:
    """Milliseconds from navigation to the first contentful paint."""
    from playwright.sync_api import sync_playwright

    found = {}
    with sync_playwright() as driver, screenshots.browser(driver) as chromium:
        for path in pages:
            page = chromium.new_page()
            page.goto(path.as_uri())
            found[str(path)] = page.evaluate(PAINT)
            page.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        times = rounds(arguments.repeats, scratch)
        site = scratch / "site-0"
        pages = sorted(site.rglob("*.html"), key=lambda path: -path.stat().st_size)
        heavy = {path.relative_to(site).as_posix(): path.stat().st_size for path in pages[:HEAVIEST]}
        chosen = [*pages[:HEAVIEST], site / "index.html"]
        painted = paints(chosen) if shutil.which("chromium") else {}
        shown = {Path(path).relative_to(site).as_posix(): ms for path, ms in painted.items()}
    result = {
        "build_s": {kind: statistics.median(values) for kind, values in times.items()},
        "pages": len(pages),
        "heaviest_bytes": heavy,
        "first_paint_ms": shown,
    }
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    for kind, seconds in result["build_s"].items():
        print(f"build, {kind:<20} {seconds:8.2f} s   (median of {arguments.repeats})")
    for name, size in heavy.items():
        print(f"{size / 1000:8.0f} kB  {shown.get(name, float('nan')):6.0f} ms to first paint  {name}")
    print(f"{len(pages)} pages; index.html: {shown.get('index.html', float('nan')):.0f} ms to first paint")


if __name__ == "__main__":
    main()

"""The exchange rate of work before GO: what training on a mixture of languages saves after it, and what it costs.

    python -m benchmarks.decipher.exchange                       the sweep on nano-2cpu: thirteen runs
    python -m benchmarks.decipher.exchange --mixture 320 --steps 0
    python -m benchmarks.decipher.exchange --write FOLDER        only write the attack, to be run or raced by hand

Every run is a refereed one. The first row is the track's reigning script; a row of the attack lies below it where its
time, charges included, is lower at a loss that reaches the target.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from data.corpus import language
from harness.cli.json_types import RunOutput
from harness.formats import layout, numbers
from harness.formats.run import RunRecord
from harness.system.clock import NS

HERE = Path(__file__).resolve().parent
MIXTURES, STEPS = (32, 64, 128, 320), (0, 8, 16)


def reigning(track: str) -> Path:
    """The source of a track's newest record."""
    return layout.record_dirs(track)[-1] / "train_gpt.py"


def write_attack(folder: Path, record: Path, mixture: int, steps: int) -> Path:
    """The submission with so many steps before GO and after it; returns its folder."""
    text = (HERE / "attack.py").read_text()
    first = "MIXTURE_STEPS, STEPS, RATE = 320, 0, 0.3"
    if text.count(first) != 1:
        raise ValueError(f"expected one line {first!r} in attack.py")
    folder.mkdir(parents=True)
    (folder / "train_gpt.py").write_text(text.replace(first, f"MIXTURE_STEPS, STEPS, RATE = {mixture}, {steps}, 0.3"))
    shutil.copy(HERE / "cipher.py", folder)
    shutil.copy(record, folder / "record.py")
    (folder / "corpus").mkdir()
    for module in Path(language.__file__).parent.glob("*.py"):
        shutil.copy(module, folder / "corpus")
    return folder


def run(script: Path, track: str) -> RunRecord:
    """One refereed run. Raises RuntimeError with its last words where it is not complete."""
    command = [sys.executable, "-m", "harness", "run", str(script), "--track", track, "--json", "--wait"]
    done = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, check=False)
    found = RunOutput.model_validate_json(done.stdout) if done.stdout else None
    if found is None or found.score is None:
        raise RuntimeError(f"expected a complete run of {script}, found: {(found and found.sentence) or done.stderr}")
    return found


def row(what: str, found: RunRecord) -> dict[str, Any]:
    """What a run cost before GO and after it, in seconds, and its loss."""
    charged = {charge.kind: charge.charged_ns / NS for charge in found.charges}
    train_s = (found.phases.train_ns or 0) / NS
    return {
        "run": what, "prepare_s": (found.phases.prepare_ns or 0) / NS, "train_s": train_s, "charged_s": charged,
        "time_s": train_s + sum(charged.values()), "val_loss": found.score and found.score.val_loss,
        "reached": found.reached_target,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """For a person."""
    lines = [f"{'run':<36}{'PREPARE, s':>11}{'GO to STOP, s':>15}{'charged, s':>12}{'time, s':>9}{'val_loss':>10}"]
    for each in rows:
        charged = sum(each["charged_s"].values())
        cells = [numbers.fixed(each[name], 2) for name in ("prepare_s", "train_s")] + [numbers.fixed(charged, 2)]
        cells += [numbers.fixed(each["time_s"], 2), numbers.loss(each["val_loss"])]
        widths = (11, 15, 12, 9, 10)
        end = "" if each["reached"] else "  missed"
        lines.append(f"{each['run']:<36}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)) + end)
    best = min((each["time_s"] for each in rows[1:] if each["reached"]), default=None)
    if best is None:
        return "\n".join([*lines, "no row of the attack reaches the target"])
    verdict = "NOT faster" if best >= rows[0]["time_s"] else "FASTER"
    lines.append(
        f"the attack's best is {verdict} than the reigning script: {best:.2f} against {rows[0]['time_s']:.2f} s"
    )
    return "\n".join(lines)


def main() -> None:
    """Print the table, or with --json one list."""
    parser = argparse.ArgumentParser(description="What work before GO is worth on the embedded corpus.")
    parser.add_argument("--track", default="nano-2cpu")
    parser.add_argument("--record", type=Path, help="the script that reigns; the track's newest record by default")
    parser.add_argument("--mixture", type=int, nargs="*", default=MIXTURES, help="steps before GO")
    parser.add_argument("--steps", type=int, nargs="*", default=STEPS, help="steps after it")
    parser.add_argument("--write", type=Path, help="write the attack of the first of both there, and run nothing")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    record = options.record or reigning("nano-2cpu")
    if options.write:
        print(write_attack(options.write, record, options.mixture[-1], options.steps[0]))
        return
    rows = [row("the reigning script", run(record, options.track))]
    with tempfile.TemporaryDirectory() as place:
        for mixture in options.mixture:
            for steps in options.steps:
                folder = write_attack(Path(place) / f"{mixture}-{steps}", record, mixture, steps)
                rows.append(row(f"{mixture} steps before GO, {steps} after", run(folder, options.track)))
                print(table(rows[-1:]).splitlines()[1], file=sys.stderr)
    print(json.dumps(rows) if options.json else table(rows))


if __name__ == "__main__":
    main()

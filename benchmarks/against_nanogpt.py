"""Against nanoGPT: its documented CPU recipe and our scripts, in turn on one machine, to the loss it ends at.

    python -m benchmarks.against_nanogpt PATH_TO_NANOGPT [--seeds 3] [--json] [--out FILE]

Each sitting runs the recipe and every script once, every other sitting in reverse order. The recipe runs as its
README.md gives it (`speedrun run --legacy`), from a copy whose one hard-coded seed is another number; the scripts run
under the referee (`speedrun run`) with seeds it draws. Both losses are the judge's, over the whole validation split.

Ratios are nanoGPT's seconds by ours. Its seconds are the smaller of two: its wall clock, and its iterations alone,
without start-up, evaluation and checkpoints. Ours are GO to STOP; what PREPARE took (imports, compilation with empty
caches) stands beside them, and a second ratio counts that for us, but still no start-up for nanoGPT.

How many sittings is fixed before the first, and every run that starts is in the table. Exit code 0 only if all of them
are complete and every run of ours reached the target; --json and --out FILE have all of it.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.nanogpt import recipe
from benchmarks.nanogpt.results import NANOGPT, Run, nanogpt_run, our_run, summarise
from benchmarks.nanogpt.scripts import SETTINGS, write_script
from benchmarks.nanogpt.tables import show
from data import datasets
from harness.cli.json_types import LegacyOutput, RunOutput
from harness.errors import RunFailure, UserError
from harness.formats import environment, layout
from harness.formats.submission import read_submission
from harness.formats.track import Track, load_track
from harness.referee import machine
from harness.sandbox import levels
from harness.selftimed.workcopy import ScriptCheckout
from harness.status import ExitCode, Status
from harness.system import clock

FOLDER = Path(__file__).resolve().parent / "nanogpt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A script of ours."""

    name: str
    path: Path
    ranks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything fixed before the first run."""

    nanogpt: ScriptCheckout
    entries: tuple[Entry, ...]
    track: Track
    sittings: int
    only: str | None
    iterations: int | None  # of nanoGPT's 2,000; None: all of them
    sandbox: str
    runs_root: Path

    def slots(self) -> Iterator[tuple[int, Entry | None]]:
        """Sitting and script in the order they run; None is nanoGPT."""
        for sitting in range(1, self.sittings + 1):
            theirs: list[Entry | None] = [] if self.only == "ours" else [None]
            order = [*theirs, *(() if self.only == "nanogpt" else self.entries)]
            yield from ((sitting, entry) for entry in (order if sitting % 2 else reversed(order)))

    def command(self, entry: Entry | None, script: Path) -> list[str]:
        """What `speedrun` is given; script: of this run."""
        common = ["--track", str(FOLDER), "--require-sandbox", self.sandbox, "--wait", "--json"]
        common += ["--out", str(self.runs_root)]
        if entry is not None:
            return ["run", str(script), "--nproc", str(entry.ranks), *common]
        ours = ["--checkout", str(script.parent), "--checkpoint", recipe.CHECKPOINT, "--adapter", "nanogpt"]
        arguments = recipe.shortened(self.iterations)
        return ["run", "--legacy", str(script), *ours, "--grammar", "nanogpt", *common, "--", *arguments]


def perform(plan: Plan, sitting: int, entry: Entry | None) -> Run:
    """One run to its end."""
    if entry is not None:
        return our_run(sitting, entry.name, RunOutput.model_validate_json(front_door(plan.command(entry, entry.path))))
    seed = recipe.SEED + sitting - 1
    with tempfile.TemporaryDirectory(prefix="against-") as parent:
        script = recipe.take_seeded_copy(plan.nanogpt, Path(parent, NANOGPT), seed, datasets.data_root())
        record = LegacyOutput.model_validate_json(front_door(plan.command(None, script)))
    return nanogpt_run(sitting, seed, record, plan.runs_root / record.run_id / layout.LOG_FILE)


def front_door(words: list[str]) -> bytes:
    """The record of one `speedrun` command, as JSON; its progress goes to stderr, and it gets our signals.

    Raises RunFailure where it made no record.
    """
    argv = [sys.executable, "-m", "harness", *words]
    process = subprocess.Popen(argv, cwd=layout.ROOT, stdout=subprocess.PIPE, start_new_session=True)
    before = {n: signal.signal(n, lambda n, _: process.send_signal(n)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        output = process.communicate()[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if b'"run_id"' not in output[:4096]:
        sentence = f"expected a record from `speedrun {shlex.join(words)}`, found none; see what it says above"
        raise RunFailure(Status.LAUNCH_FAILED, sentence)
    return output


def outcome(plan: Plan, runs: list[Run]) -> ExitCode:
    """OK only if everything planned ran, is complete, and everything of ours reached the target, from one source."""
    stopped = [code for run in runs[-1:] if (code := Status(run.status).exit_code) >= ExitCode.INTERRUPTED]
    whole = len(runs) == len(list(plan.slots())) and all(run.seconds is not None for run in runs)
    ours = [run for run in runs if run.script != NANOGPT]
    edited = len({(run.script, run.source_sha256) for run in ours}) > len({run.script for run in ours})
    good = whole and not edited and all(run.reached for run in ours)
    return stopped[0] if stopped else ExitCode.OK if good else ExitCode.MISSED


def heading(plan: Plan) -> dict[str, Any]:
    """What is known before the first run: machine, versions, date, and what exactly is compared."""
    here = environment.collect()
    versions = {"numpy": here.packages.get("numpy"), "compiler": environment.compiler()}
    return {
        "benchmark": "against_nanogpt",
        "started_at": clock.utc_now().isoformat(),
        "machine": here.model_dump(mode="json", exclude={"packages", "gpus", "cuda"}) | versions,
        "track": {"name": plan.track.name, "sha256": plan.track.sha256, "target_val_loss": plan.track.target_val_loss},
        "val_tokens": plan.track.data.val_tokens,
        "sittings": plan.sittings,
        "sandbox": plan.sandbox,
        "nanogpt": {
            "source_sha256": plan.nanogpt.sha256,
            "source_is_known": plan.nanogpt.sha256 == recipe.SOURCE_SHA256,
            "in_its_readme": recipe.is_documented(plan.nanogpt),
            "arguments": list(recipe.shortened(plan.iterations)),
            "edit": f"{recipe.SEED_LINE}: {recipe.SEED} becomes the run's seed, nothing else is changed",
            "shortened_to": plan.iterations,
        },
    }


def report(plan: Plan, head: dict[str, Any], runs: list[Run]) -> dict[str, Any]:
    """All of it, for a machine."""
    return head | {
        "finished_at": clock.utc_now().isoformat(),
        "runs": [asdict(run) for run in runs],
        "summary": [asdict(summary) for summary in summarise(runs)],
        "exit_code": int(outcome(plan, runs)),
    }


def conduct(plan: Plan, out: Path | None) -> tuple[list[Run], dict[str, Any]]:
    """Every slot of the plan, or up to a signal; the report is on disk after each."""
    runs: list[Run] = []
    head, slots = heading(plan), list(plan.slots())
    found = report(plan, head, runs)
    save(out, found)
    for number, (sitting, entry) in enumerate(slots, 1):
        name = NANOGPT if entry is None else entry.name
        say(f"{number}/{len(slots)}: sitting {sitting}, {name}")
        runs.append(perform(plan, sitting, entry))
        say(f"{number}/{len(slots)}: {runs[-1].status}: {runs[-1].sentence}")
        found = report(plan, head, runs)
        save(out, found)
        if found["exit_code"] >= ExitCode.INTERRUPTED:
            break
    return runs, found


def say(line: str) -> None:
    print(f"[against nanoGPT] {line}", file=sys.stderr, flush=True)


def save(out: Path | None, found: dict[str, Any]) -> None:
    """Raises UserError where it cannot be written: before the first run, not after the last."""
    try:
        if out is not None:
            layout.write_json(out, found)
    except OSError as error:
        raise UserError(f"expected to write {out}, found: {error.strerror}; name another --out") from error


def find_entries(specs: list[str], track: Track) -> tuple[Entry, ...]:
    """Scripts by PATH or PATH:RANKS, named by their stems. Raises UserError."""
    entries = []
    for spec in specs:
        path, colon, ranks = spec.rpartition(":") if spec.rpartition(":")[2].isdecimal() else (spec, "", "")
        wanted = machine.pick_world_size(track, int(ranks) if colon else None, "cpu")
        read_submission(Path(path))
        entries.append(Entry(name=Path(path).stem, path=Path(path).resolve(), ranks=wanted))
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names) or NANOGPT in names:
        raise UserError(f"expected scripts of different names, none called {NANOGPT}, found {', '.join(names)}; rename")
    return tuple(entries)


def make_plan(args: argparse.Namespace) -> Plan:
    """Everything checked that can be before the first run. Raises UserError."""
    track = load_track(str(FOLDER))
    datasets.verify(datasets.load_dataset(track.data.dataset), datasets.data_root())
    levels.choose(args.sandbox)
    runs_root = (args.runs or layout.runs_root()).absolute()
    entries: tuple[Entry, ...] = ()
    if args.only != "nanogpt":
        entries = find_entries(
            args.scripts or [str(write_script(name, runs_root / track.name)) for name in SETTINGS], track
        )
    return Plan(
        nanogpt=recipe.find_nanogpt(args.checkout.absolute()),
        entries=entries,
        track=track,
        sittings=args.seeds,
        only=args.only,
        iterations=args.iterations,
        sandbox=args.sandbox,
        runs_root=runs_root,
    )


def show_plan(plan: Plan, as_json: bool) -> None:
    """What would run, in order; nothing is started."""
    rows: list[tuple[int, list[str]]] = []
    for sitting, entry in plan.slots():
        script = entry.path if entry is not None else Path(f"COPY_WITH_SEED_{recipe.SEED + sitting - 1}/train.py")
        rows.append((sitting, ["speedrun", *plan.command(entry, script)]))
    if as_json:
        print(json.dumps([{"sitting": sitting, "command": command} for sitting, command in rows], indent=1))
        return
    for sitting, command in rows:
        print(f"{sitting}  {shlex.join(command)}")
    print("nothing was started (--dry-run)")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, metavar="PATH_TO_NANOGPT", help="a work tree; it is only read")
    parser.add_argument("--seeds", type=positive, default=3, help="sittings, each with seeds of its own (default 3)")
    parser.add_argument("--only", choices=["ours", "nanogpt"], help="one side, without ratios")
    parser.add_argument("--scripts", nargs="+", metavar="PATH[:RANKS]", help="others than our two")
    parser.add_argument("--sandbox", default="namespaces", help="the level every run must have (default namespaces)")
    parser.add_argument("--runs", type=Path, help="where run folders go; runs/ of the checkout by default")
    parser.add_argument("--out", type=Path, help="a file for all of it as JSON, whole after every run")
    parser.add_argument("--json", action="store_true", help="all of it on stdout instead of the tables")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the commands; start nothing")
    parser.add_argument("--iterations", type=positive, help=argparse.SUPPRESS)  # of nanoGPT, for trying this out
    return parser.parse_args(argv)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {text}")
    return number


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    try:
        plan = make_plan(args)
        if args.dry_run:
            show_plan(plan, args.json)
            return
        runs, found = conduct(plan, args.out)
    except UserError as error:
        print(f"against_nanogpt: {error}", file=sys.stderr)
        code = error.status.exit_code if isinstance(error, RunFailure) else ExitCode.USAGE
        raise SystemExit(int(code)) from error
    except KeyboardInterrupt:  # between two runs; during one it is the run's
        raise SystemExit(int(ExitCode.INTERRUPTED)) from None
    if args.json:
        print(json.dumps(found, indent=1, allow_nan=False))
    else:
        show(found, runs)
    raise SystemExit(found["exit_code"])


if __name__ == "__main__":
    main()

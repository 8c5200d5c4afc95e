"""A campaign of self-timed scripts as upstream reviews one: a folder of logs, the sources on top, and statistics.

Every attempt is in it: those that count beside each arm's script, the others under uncounted/. Nothing is typed: all
of statistics.md follows from the campaign, and its last table names the digest of every file.
"""

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from data.printing import printable
from harness.campaigns.bundle import MAX_LOG_BYTES, Bundle, StatedAttempt, read_bundle
from harness.campaigns.campaign import ArmPlan
from harness.campaigns.ledger import read_ledger
from harness.campaigns.summary import summarise
from harness.campaigns.track_match import bundle_track
from harness.errors import RecordError, UserError
from harness.formats import layout, numbers
from harness.formats.environment import Environment
from harness.formats.run import Finding
from harness.formats.run_folder import begin_folder
from harness.selftimed.logs import LogReader
from harness.system.clock import NS
from harness.system.plainfile import read_plain

FOLDERS = {"candidate": "this_pr", "baseline": "baseline"}
UNCOUNTED = "uncounted"
RULE = b"=" * 100


def export_for_upstream(folder: Path, target: Path) -> tuple[int, tuple[Finding, ...]]:
    """Make `target`, whole or not at all; how many logs it holds, and what is wrong with the campaign.

    Raises UserError or RecordError where there is no closed campaign of self-timed scripts, or `target` exists.
    """
    bundle = read_bundle(folder)
    if bundle.plan.self_timed is None:
        raise UserError(f"expected a campaign of scripts that time themselves at {folder}, found one of refereed runs")
    if not bundle.closed:
        raise UserError(f"expected a closed campaign, found {folder} open; `speedrun run --resume` goes on with it")
    if target.exists():
        raise UserError(f"expected a new folder to export to, found {target} there already; name another")
    files = dict(_files(bundle))
    begun = begin_folder(target.absolute().parent, target.name)
    try:
        for name, content in files.items():
            (begun.path / name).parent.mkdir(parents=True, exist_ok=True)
            (begun.path / name).write_bytes(content)
        begun.appear()
    finally:
        begun.give_up()
    return sum(name.endswith(".txt") for name in files), bundle.findings


def _files(bundle: Bundle) -> Iterator[tuple[str, bytes]]:
    """Every file by its name, statistics and README last."""
    digests: dict[str, str] = {}
    scripts = {arm.arm: _script(bundle, arm) for arm in bundle.plan.arms}
    for arm in bundle.plan.arms:
        name = f"{FOLDERS[arm.arm]}/{PurePosixPath(arm.submission.entry).name}"
        digests[name] = arm.submission.files[arm.submission.entry]
        yield name, scripts[arm.arm]
    for attempt in bundle.stated:
        content = _log(bundle, attempt, scripts[attempt.slot.arm])
        digests[_log_name(bundle, attempt)] = hashlib.sha256(content).hexdigest()
        yield _log_name(bundle, attempt), content
    yield "statistics.md", "\n".join(_statistics(bundle, digests)).encode() + b"\n"
    yield "README.md", "\n".join(_readme(bundle)).encode() + b"\n"


def _script(bundle: Bundle, arm: ArmPlan) -> bytes:
    content = read_plain(bundle.folder / arm.arm / arm.submission.entry, MAX_LOG_BYTES, RecordError)
    if hashlib.sha256(content).hexdigest() != arm.submission.files[arm.submission.entry]:
        raise RecordError(f"expected the {arm.arm}'s script as it was planned in {bundle.folder}, found other bytes")
    return content


def _log_name(bundle: Bundle, attempt: StatedAttempt) -> str:
    """A uuid that follows from the run, so that an export made twice is the same."""
    name = uuid.uuid5(uuid.NAMESPACE_OID, f"{bundle.plan.campaign_id} {attempt.run.run_id}")
    folder = FOLDERS[attempt.slot.arm]
    return f"{folder}/{name}.txt" if attempt.counted else f"{folder}/{UNCOUNTED}/{name}.txt"


def _log(bundle: Bundle, attempt: StatedAttempt, source: bytes) -> bytes:
    """What the run printed, below its source; scripts that print their own are left as they are."""
    path = bundle.folder / layout.RECORD_RUNS_DIR / attempt.run.run_id / layout.LOG_FILE
    content = read_plain(path, MAX_LOG_BYTES, RecordError) if path.exists() else b""
    reader = LogReader()
    reader.feed(content)
    if reader.finish().source:
        return content
    return source.rstrip(b"\n") + b"\n" + RULE + b"\n" + content


def _statistics(bundle: Bundle, digests: dict[str, str]) -> Iterator[str]:
    track = bundle_track(bundle.folder)
    summary, plan = summarise(bundle, track, None), bundle.plan
    tried, uncounted = summary.evidence.attempts, summary.evidence.uncounted
    order = "".join("AB"[slot.arm == "baseline"] for slot in plan.slots)
    yield from ("# Statistics", "")
    yield (
        f"Campaign `{plan.campaign_id}`: n, order ({order}, A is this PR) and seeds were fixed before the first run; "
        f"every attempt was entered before it started. {tried} attempts, {uncounted} of them do not "
        "count and are shown all the same. Losses and times are those that the scripts state."
    )
    yield ""
    yield from (f"- {sentence}" for sentence in map(_text, summary.sentences))
    judge, line = (" the judge's |", " ---: |") if plan.is_judged else ("", "")
    yield from ("", f"| # | arm | seed | status | val_loss |{judge} time (s) | wall clock (s) | log |")
    yield f"| ---: | --- | ---: | --- | ---: |{line} ---: | ---: | --- |"
    for attempt in bundle.stated:
        run, result = attempt.run, attempt.run.result
        time_s, loss = ("", "") if result is None else (numbers.fixed(result[0], 3), numbers.loss(result[1], 5))
        wall = "" if run.observed is None else numbers.fixed(run.observed.wall_ns / NS, 3)
        seed = "its own" if run.seed is None else str(run.seed)
        status = str(run.status) if attempt.counted else f"{run.status}, does not count"
        judged = ("" if run.judged_loss is None else numbers.loss(run.judged_loss, 5),) if plan.is_judged else ()
        cells = (attempt.slot.index + 1, FOLDERS[attempt.slot.arm], seed, status, loss, *judged, time_s, wall)
        yield f"| {' | '.join(map(str, cells))} | `{_log_name(bundle, attempt)}` |"
    yield from ("", "## Findings", "")
    found = [f"- {f.severity} `{f.id}`: {_text(f.sentence)} (expected {_text(f.expected)}, found {_text(f.found)})"
             for f in bundle.findings]  # fmt: skip
    yield from found or ["None."]
    yield from ("", "## SHA-256", "")
    head = read_ledger(bundle.folder / layout.LEDGER_FILE).head_sha256
    yield f"Of the last line of the campaign's ledger: `{head}`"
    yield from ("", "| file | sha256 |", "| --- | --- |")
    yield from (f"| `{_text(name)}` | `{digest}` |" for name, digest in digests.items())


def _readme(bundle: Bundle) -> Iterator[str]:
    plan = bundle.plan
    yield from (f"# {plan.track.name}: {plan.campaign_id}", "")
    yield from ("What changed, and why it works: (to be written)", "")
    for arm in plan.arms:
        script = arm.script
        assert script is not None
        settings = " ".join([*(f"{name}={value}" for name, value in script.environment.items()), *script.secrets])
        told = {"started by": script.launcher, "arguments": " ".join(script.arguments), "environment": settings}
        shown = "; ".join(f"{name}: `{_text(value)}`" for name, value in told.items() if value)
        yield f"- `{FOLDERS[arm.arm]}/`: `{_text(arm.submission.entry)}` of {_text(script.checkout)}; {shown}"
    ranks = "1 rank" if plan.world_size == 1 else f"{plan.world_size} ranks"
    yield f"- both with {ranks}, at sandbox level {plan.sandbox}, without network"
    yield from ("", *_machine(bundle.stated[0].run.environment), "")
    yield "Statistics, all runs and the digests of all files: [statistics.md](statistics.md)"


def _machine(found: Environment) -> Iterator[str]:
    gpus = ", ".join(sorted({f"{gpu.name} (driver {gpu.driver})" for gpu in found.gpus})) or "no GPU"
    yield f"Machine: {len(found.gpus)} GPUs: {_text(gpus)}; {_text(found.cpu_model)}, {found.cpu_cores} cores"
    yield f"Software: Python {found.python}, torch {found.torch or 'none'}, CUDA {found.cuda or 'none'}"


def _text(text: str) -> str:
    """On one line of Markdown, in a table too."""
    return printable(text).replace("\n", " ").replace("|", "\\|").replace("`", "'").replace("<", "&lt;")

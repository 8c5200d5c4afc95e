"""The one module that knows file names.

records/digests.json                            digests of all that follows, for `speedrun verify --against`
records/<track>/track.toml                      a contest
records/<track>/rules/<version>.toml            the same as it was under earlier rules
records/<track>/locks/torch-<version>.txt       the wheels, by hash, that records of this torch are reproduced in
records/<track>/history.json                    records imported from elsewhere
records/<track>/claims.json                     what others claim and no table has accepted; never a record
records/<track>/reported/<campaign>/            a campaign of self-timed scripts, on the board without a place: the
                                                campaign as below, reported.json (who, what, its numbers), manifest.json
records/<track>/allowed_signers                 whose signatures count, in OpenSSH's format
records/<track>/<date>_<Name>/                  a record
    record.json       what people say: who, what, parents
    README.md         the same for people; the only file its manifest leaves out
    <source files>    the exact bytes that ran
    baseline/         the source it was compared with, where that is no record of this checkout
    track.toml        the contest as it was
    requirements.lock every package of the environment it ran in
    ledger.jsonl, runs/<run>/{run.json,progress.jsonl}    its campaign
    verdict.json      findings and evidence, derived
    manifest.json     digests of all of the above, written last; manifest.json.sig signs it
    challenges/<date>_<digest>/    attached later: challenge.json, a whole campaign, and a manifest of its own;
                      relabelled/ holds one under a secret vocabulary
runs/<campaign>/                                campaigns: what `speedrun submit` makes records of
    ledger.jsonl      the plan, then every attempt and what became of it
    track.toml, candidate/, baseline/    what runs, copied before the first one
    languages.secret  of its runs' languages, for its user's eyes only, until the ledger's last entry reveals it
    runs/<run>/       every attempt, as below
runs/<run>/                                     single local runs, never submitted
    run.json          what became of it; `started` first, rewritten whole at every change
    log.txt           what the ranks printed (untrusted, cut at the track's log_bytes)
    progress.jsonl    the train-loss curve as the referee received it
    source/           the bytes that ran
    weights.safetensors   only with --keep-weights
runs/node_check.json                            the newest verdict of `speedrun doctor --race`
runs/<run>/legacy.json, log.txt, checkpoint.pt  a self-timed script, run as it is: tier `reported`
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from data.files import replace_file

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "docs" / "schemas"  # generated

TRACK_FILE = "track.toml"
RECORD_FILE = "record.json"
RUN_FILE = "run.json"
LEGACY_FILE = "legacy.json"  # a run of a script that timed itself; never read as a run
CHECKPOINT_FILE = "checkpoint.pt"
REPORTED_DIR = "reported"  # of a track: legacy.json of results that stand on its board, and whole campaigns
REPORTED_FILE = "reported.json"
LOG_FILE = "log.txt"
PROGRESS_FILE = "progress.jsonl"
EVIDENCE_FILES = (RUN_FILE, PROGRESS_FILE)  # of a refereed run
SOURCE_DIR = "source"
RECORD_RUNS_DIR = "runs"
WEIGHTS_FILE = "weights.safetensors"
LEDGER_FILE = "ledger.jsonl"
LANGUAGES_FILE = "languages.secret"  # never in a sandbox's view, never in a record
README_FILE = "README.md"
VERDICT_FILE = "verdict.json"
LOCK_FILE = "requirements.lock"
MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.json.sig"
SIGNERS_FILE = "allowed_signers"
HISTORY_FILE = "history.json"  # records imported from elsewhere, of tier `reported`
CLAIMS_FILE = "claims.json"  # claims read from elsewhere; never records
DIGESTS_FILE = "digests.json"  # beside the tracks
RECORDS_DIR = "records"
CHALLENGE_FILE = "challenge.json"
CHALLENGES_DIR = "challenges"
CANDIDATE_DIR = "candidate"
BASELINE_DIR = "baseline"
RELABELLED_DIR = "relabelled"  # of a challenge: a campaign under a secret vocabulary
PAST_RULES_DIR = "rules"
LOCKS_DIR = "locks"  # of a track: torch-<version>.txt, wheels by hash
NODE_CHECK_FILE = "node_check.json"  # beside local runs; of whichever machine was checked last
RESERVE_FILE = ".reserve"  # space for the closing record, given back when it is written

RECORD_NAME = re.compile(r"^\d{4}-\d{2}-\d{2}_[A-Za-z0-9]+\Z")
MAX_RECORD_BYTES = 2**20  # of a record or a challenge in git, without what is attached to it
RECORD_OWN = frozenset({
    RECORD_FILE, README_FILE, TRACK_FILE, LOCK_FILE, LEDGER_FILE, VERDICT_FILE, MANIFEST_FILE, SIGNATURE_FILE,
    CHALLENGE_FILE, RECORD_RUNS_DIR, CANDIDATE_DIR, BASELINE_DIR, CHALLENGES_DIR,
})  # fmt: skip
"""Names at the top of a record that its source files, which lie beside them, cannot have."""

CATALOGUE = ROOT / "leaderboard" / "upstream" / "modded_nanogpt.toml"  # our words on imported records
NEWER_ROWS = CATALOGUE.with_name("newer_rows.toml")  # rows that the imported checkout has not yet
OPEN_CLAIMS = CATALOGUE.with_name("open_claims.toml")  # claims of which no log can be had


def runs_root() -> Path:
    """Where local runs go: SPEEDRUN_RUNS, else runs/ of this checkout."""
    return Path(os.environ.get("SPEEDRUN_RUNS") or ROOT / "runs")


def machine_lock() -> Path:
    """What a run holds, one for all users of a machine whatever their TMPDIR.

    In SPEEDRUN_LOCKS (for tests, which are worlds of their own), else where the system keeps locks, if everybody may
    write there: root must not hold another one than the others.
    """
    own, shared = os.environ.get("SPEEDRUN_LOCKS"), Path("/run/lock")
    everybodys = shared.is_dir() and shared.stat().st_mode & 0o002
    folder = Path(own) if own else shared if everybodys else Path("/tmp")  # noqa: S108 - shared on purpose
    return folder / "speedrun-machine.lock"


def index_file() -> Path:
    """Where entries of records are remembered: SPEEDRUN_CACHE, else the user's cache folder.

    Not among the records, where somebody could hand one in.
    """
    own = os.environ.get("SPEEDRUN_CACHE")
    cache = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "speedrun"
    return cache / "index.sqlite"


def records_root() -> Path:
    """Where the tracks and their records are: SPEEDRUN_RECORDS, else records/ of this checkout."""
    return Path(os.environ.get("SPEEDRUN_RECORDS") or ROOT / RECORDS_DIR)


def track_file(name: str) -> Path:
    return records_root() / Path(name).name / TRACK_FILE


def history_file(track: str) -> Path:
    """Imported records of a track."""
    return records_root() / Path(track).name / HISTORY_FILE


def claims_file(track: str) -> Path:
    """Open claims on a track."""
    return records_root() / Path(track).name / CLAIMS_FILE


def reported_files(track: str) -> list[Path]:
    """The results of self-timed scripts that stand on a track's board, oldest first."""
    found = (records_root() / Path(track).name / REPORTED_DIR).glob("*.json")
    return sorted(path for path in found if not path.is_dir())


def reported_dirs_of(track_dir: Path) -> list[Path]:
    """The campaigns of self-timed scripts inside a track's folder, oldest first; no link is followed."""
    folder = track_dir / REPORTED_DIR
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def track_files() -> list[Path]:
    return sorted(records_root().glob(f"*/{TRACK_FILE}"))


def record_dirs(track: str) -> list[Path]:
    """The record folders of a track, oldest first (their names begin with the date)."""
    return record_dirs_of(records_root() / track)


def record_dirs_of(track_dir: Path) -> list[Path]:
    """The record folders inside a track's folder, oldest first."""
    try:
        with os.scandir(track_dir) as found:
            names = sorted(entry.name for entry in found if RECORD_NAME.match(entry.name) and entry.is_dir())
    except OSError:
        return []
    return [track_dir / name for name in names]


def challenge_dirs(record: Path) -> list[Path]:
    """Whatever lies in a record's folder of challenges, oldest first; names are for the reader to check."""
    return sorted((record / CHALLENGES_DIR).glob("*"))


def run_dirs(parent: Path) -> list[Path]:
    """The runs directly below a folder, oldest first (their names begin with the UTC start)."""
    return sorted(p.parent for p in parent.glob(f"*/{RUN_FILE}"))


def local_run_dirs(parent: Path) -> list[Path]:
    """The runs below a folder of local runs, those of its campaigns too, oldest first."""
    in_campaigns = (p.parent for p in parent.glob(f"*/{RECORD_RUNS_DIR}/*/{RUN_FILE}"))
    return sorted([*run_dirs(parent), *in_campaigns], key=lambda folder: folder.name)


def campaign_dirs(parent: Path) -> list[Path]:
    """The campaigns below a folder of local runs, oldest first."""
    return sorted(p.parent for p in parent.glob(f"*/{LEDGER_FILE}"))


def write_json(path: Path, value: Any) -> None:
    """Atomically: a reader sees the old file or the new one, also after a crash."""
    replace_file(path, [(json.dumps(value, indent=1, allow_nan=False) + "\n").encode()])

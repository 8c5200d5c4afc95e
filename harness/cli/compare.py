"""speedrun compare: a candidate against a baseline on this machine, interleaved."""

import sys
from typing import Annotated

import typer

from ..errors import UserError
from ..formats.track import Track, default_track, load_track
from ..records.lookup import NamedSubmission, find_baseline, find_submission, standing_record, track_of_record
from . import options
from .campaigns import Start, draft, race

Candidate = Annotated[str, typer.Argument(help="A train_gpt.py, a folder that holds one, or a record.")]
Pairs = Annotated[int, typer.Option(help="Pairs: runs of each arm. `speedrun plan` says how many it takes.")]
Baseline = Annotated[str | None, typer.Argument(help="The same; the track's standing record by default.")]


def compare(
    candidate: Candidate,
    baseline: Baseline = None,
    runs: Pairs = 6,
    track: options.TrackName = None,
    nproc: options.Ranks = None,
    out: options.Out = None,
    copy_to: options.CopyTo = None,
    keep_weights: options.KeepWeights = False,
    require_sandbox: options.Sandbox = None,
    wait: options.Wait = None,
    anyway: options.Anyway = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Race a candidate against a baseline: valid? faster? by how much? at equal loss?

    The arms alternate ABBA, and both runs of a pair share a seed, so that slow drift of the machine and luck of the
    seed cancel. The number of pairs is fixed before the first run; looking at the numbers on the way changes nothing.
    It is a campaign: after Ctrl-C, a crash or a full disk `speedrun run --resume FOLDER` goes on, and when it is
    closed `speedrun submit FOLDER` hands it in.

    Without BASELINE the standing record of the track's current rules is raced. Where there is none, because it would
    be the first, or because a new major version of the rules has opened a new standing, the candidate runs alone.

    Exit code 0: all runs are valid and the candidate passes the track's test, whether it is faster or not (--json
    says: evidence.comparison.verdict); 1: they do not; otherwise that of the run which stopped the campaign.
    """
    if runs < 2:
        raise UserError(f"expected at least 2 pairs to compare, found --runs {runs}; `speedrun plan` says how many")
    name = track or track_of_record(candidate) or default_track()
    the_track = load_track(name)
    submissions = (find_submission(candidate, the_track.name), *_opponent(baseline, the_track))
    campaign = draft(name, submissions, runs, nproc, require_sandbox, out)
    start = Start(
        keep_weights=keep_weights, wait=wait, dry_run=dry_run, as_json=as_json,
        required_sandbox=require_sandbox, copy_to=copy_to, anyway=anyway,
    )  # fmt: skip
    race(campaign, start)


def _opponent(baseline: str | None, track: Track) -> tuple[NamedSubmission, ...]:
    """What is raced; nothing where nobody is named and no record stands under the track's rules."""
    if baseline is not None:
        return (find_baseline(baseline, track),)
    standing = standing_record(track)
    if standing is None:
        told = f"{track.name} has no record under rules {track.major} to race: the candidate runs alone"
        print(f"{told}; name a BASELINE for a race all the same", file=sys.stderr)
    return () if standing is None else (standing,)

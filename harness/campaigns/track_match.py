"""Whether a campaign is one of its track: same rules, test, target, data, scored tokens."""

from collections.abc import Iterator
from pathlib import Path

from data.datasets import load_dataset

from ..errors import DataError, RecordError, TrackError
from ..formats import layout
from ..formats.run import Finding, TrackRef
from ..formats.track import Track, load_track
from ..system.plainfile import read_plain
from .bundle import Bundle
from .campaign import PlannedTest

_PROSE = {"title", "notes", "sha256"}  # what only people read


def bundle_track(folder: Path) -> Track:
    """The track file inside a campaign, a record or a challenge. Raises RecordError."""
    path = folder / layout.TRACK_FILE
    read_plain(path, layout.MAX_RECORD_BYTES, RecordError)
    try:
        return load_track(str(path))
    except TrackError as error:
        raise RecordError(str(error)) from error


def same_rules(a: Track, b: Track) -> bool:
    """Whether two track files say the same, but for what only people read."""
    return a.model_dump(exclude=_PROSE) == b.model_dump(exclude=_PROSE)


def core(track: Track) -> str:
    """What makes two results results of one contest, whatever its budgets and rules have become."""
    return track.model_dump_json(include={"name", "metric", "target_val_loss", "data", "significance"})


def contest_findings(bundle: Bundle, track: Track) -> Iterator[Finding]:
    """What in a campaign is not as its track has it; the plan's and the runs' own words for it are not believed."""
    ref, test = TrackRef.of(track), track.significance
    if bundle.plan.track != ref:
        yield Finding.error("track_digest", "the plan tells of another track", str(ref), str(bundle.plan.track))
    planned = PlannedTest(name=test.test, alpha=test.alpha, sigma=test.sigma)
    if bundle.plan.test != planned:
        yield Finding.error(
            "planned_test", "the plan has another significance test", str(planned), str(bundle.plan.test)
        )
    yield from _data_findings(bundle, track)


def _data_findings(bundle: Bundle, track: Track) -> Iterator[Finding]:
    try:
        known = load_dataset(track.data.dataset).sha256
    except DataError as error:
        yield Finding.error("dataset", str(error), "a dataset of this checkout", track.data.dataset)
        return
    for run in (attempt.run for attempt in bundle.attempts):
        for name, digest in run.data.items():
            if known.get(name, digest) != digest:
                yield Finding.error("dataset", f"run {run.run_id} had another {name}", known[name][:12], digest[:12])
        if run.score is not None and run.score.count != track.data.val_tokens:
            expected, found = f"{track.data.val_tokens:,}", f"{run.score.count:,}"
            yield Finding.error(
                "val_tokens", f"run {run.run_id} was scored on another number of tokens", expected, found
            )

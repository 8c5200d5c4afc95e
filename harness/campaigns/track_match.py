"""Whether a campaign is one of its track: same rules, test, target, data, scored tokens."""

from collections.abc import Iterator
from pathlib import Path

from data.corpus.language import RECIPE
from data.datasets import Dataset, load_dataset

from ..errors import DataError, RecordError, TrackError
from ..formats import layout
from ..formats.run import Finding, RunRecord, TrackRef
from ..formats.track import Track, load_track
from ..referee import spoken
from ..status import Status
from ..system.plainfile import read_plain
from .bundle import Bundle
from .campaign import PlannedTest

ENTROPY_TOLERANCE = 1e-6  # nats per token: logarithms may differ in their last digit between machines
LANGUAGES_SINCE_SCHEMA = 3  # of run.json
LANGUAGES_SINCE_RULES = 2  # major version
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


def known_rules(track: Track, track_dir: Path) -> tuple[bool, list[Finding]]:
    """Whether the rules something was run under still hold in a track's folder, and that they were ever its rules."""
    known = [track_dir / layout.TRACK_FILE, *sorted((track_dir / layout.PAST_RULES_DIR).glob("*.toml"))]
    try:
        tracks = [load_track(str(path)) for path in known]
    except TrackError as error:
        return False, [Finding.error("track", str(error), "the track it belongs to", "none that can be read")]
    if any(same_rules(track, other) for other in tracks):
        return same_rules(track, tracks[0]), []
    expected = f"{layout.TRACK_FILE} as in the track's folder, or a file of {layout.PAST_RULES_DIR}/"
    found = f"other rules that call themselves {track.name} {track.rules_version}"
    return True, [Finding.error("track_changed", "it was made under rules that this track never had", expected, found)]


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
        dataset = load_dataset(track.data.dataset)
    except DataError as error:
        yield Finding.error("dataset", str(error), "a dataset of this checkout", track.data.dataset)
        return
    for run in (attempt.run for attempt in bundle.attempts):
        yield from (
            _text_findings(run, dataset, track) if _speaks(run, dataset, track) else _shard_findings(run, dataset)
        )
        if run.score is not None and run.score.count != track.data.val_tokens:
            expected, found = f"{track.data.val_tokens:,}", f"{run.score.count:,}"
            yield Finding.error(
                "val_tokens", f"run {run.run_id} was scored on another number of tokens", expected, found
            )


def _speaks(run: RunRecord, dataset: Dataset, track: Track) -> bool:
    """Whether a run has to have had a language of its own: on the embedded corpus, since there are any."""
    is_new = run.schema_version >= LANGUAGES_SINCE_SCHEMA or track.major >= LANGUAGES_SINCE_RULES
    return dataset.kind == "embedded" and (is_new or run.language is not None)


def _text_findings(run: RunRecord, dataset: Dataset, track: Track) -> Iterator[Finding]:
    """Its text is of the recipe and the sizes of the track; `verify` makes it anew."""
    if run.status == Status.COMPLETE and (run.language is None or run.text is None):
        sentence = f"run {run.run_id} speaks no language of its own"
        yield Finding.error("dataset", sentence, "the secret of a language", "none")
    if run.text is None:
        return
    expected, found = spoken.planned_facts(dataset, track), run.text.model_copy(update={"entropy": None})
    if found != expected:
        yield Finding.error("dataset", f"run {run.run_id} had another text", str(expected), str(found))
    files = {piece.file for piece in (*spoken.training_pieces(dataset, track), spoken.validation_piece(dataset, track))}
    if set(run.data) != files:
        sentence = f"run {run.run_id} had other shards"
        yield Finding.error("dataset", sentence, ", ".join(sorted(files)), ", ".join(sorted(run.data)))


def spoken_findings(bundle: Bundle, track: Track, *, deep: bool) -> Iterator[Finding]:
    """What of the texts that runs say they had is not what their languages give, made anew: half a second for each
    language, and with `deep`, which makes the training shards too, two seconds more.
    """
    spoke = [attempt.run for attempt in bundle.attempts if attempt.run.language is not None]
    if not spoke:
        return
    try:
        dataset = load_dataset(track.data.dataset)
    except DataError:
        return  # `contest_findings` says so
    if dataset.kind != "embedded" or track.data.val_tokens >= (dataset.val_tokens or 0):
        sentence = "runs say that they spoke languages of their own"
        found = f"{dataset.name}, {track.data.val_tokens:,} scored tokens"
        yield Finding.error("dataset", sentence, "an embedded dataset that holds what is scored", found)
        return
    for run in spoke:
        if run.language is None or run.text is None or run.text.recipe != RECIPE:
            continue  # `contest_findings` says so
        digests, facts = spoken.made_anew(run.language, dataset, track, training=deep)
        for name, digest in digests.items():
            if run.data.get(name) != digest:
                sentence = f"run {run.run_id}: {name} is not what its language gives"
                yield Finding.error("dataset", sentence, digest[:12], run.data.get(name, "no such file")[:12])
        if abs((run.text.entropy or 0) - (facts.entropy or 0)) > ENTROPY_TOLERANCE:
            sentence = f"run {run.run_id}: the entropy of its text is another"
            yield Finding.error("dataset", sentence, str(facts.entropy), str(run.text.entropy))


def _shard_findings(run: RunRecord, dataset: Dataset) -> Iterator[Finding]:
    for name, digest in run.data.items():
        if dataset.sha256.get(name, digest) != digest:
            known = dataset.sha256[name][:12]
            yield Finding.error("dataset", f"run {run.run_id} had another {name}", known, digest[:12])

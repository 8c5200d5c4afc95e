"""Building the site: each track's pages, then those all share; what is unchanged stays."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.errors import UserError
from harness.formats import layout
from harness.system.plainfile import read_plain

from . import addresses, downloads
from .audit_page import audit_page
from .campaign_page import campaign_files, campaign_view
from .charts import Draw
from .claims_page import claims_page
from .feed import feed
from .imported_page import imported_view
from .record_page import MAX_RUNS, AttemptRow, attempted, challenge_attempts, record_view
from .rendering import ASSETS, Page, Renderer
from .rows import BoardRow, address_of, newest_first, rows_of
from .shared_pages import TrackSummary, shared_pages
from .site_folder import FileGroup, Output, files_below, fingerprint, open_output
from .source_pages import diff_view, read_source, source_view
from .track_data import Collection, Own, read_collection, track_folders
from .track_page import track_pages

MAX_DOCUMENT_BYTES = 2**18
Progress = Callable[[str, int, int], None]  # what, how many of how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """speedrun site build"""

    folder: str
    files: int
    written: tuple[str, ...]
    removed: tuple[str, ...]
    tracks: tuple[str, ...]  # whose pages were made again
    broken: tuple[str, ...]  # a sentence for each thing that does not verify
    seconds: float


def build(out: Path, *, base_url: str = "", full: bool = False, on_progress: Progress = lambda *_: None) -> Built:
    """Build or bring up to date the site in `out`. Raises UserError where that folder is something else."""
    begun = time.monotonic()
    renderer, code, folders = Renderer(), code_fingerprint(), track_folders()
    summaries: list[TrackSummary] = []
    made: list[str] = []
    with open_output(out, full=full) as output:
        for number, folder in enumerate(folders):
            on_progress(folder.name, number, len(folders) + 1)
            name, print_ = f"track {folder.name}", track_fingerprint(folder, code)
            kept = output.unchanged(name, print_)
            summary = None if kept is None else _summary_from(kept)
            if summary is None:
                summary = _build_track(folder, output.begin(name, print_), output, renderer)
                made.append(folder.name)
            summaries.append(summary)
        on_progress("shared pages", len(folders), len(folders) + 1)
        _build_shared(summaries, output, renderer, code, base_url)
    return Built(
        folder=str(out),
        files=output.pages,
        written=tuple(output.written),
        removed=tuple(output.removed),
        tracks=tuple(made),
        broken=tuple(_sentences(summaries)),
        seconds=round(time.monotonic() - begun, 3),
    )


def code_fingerprint() -> str:
    """Of everything that decides how a page looks, but the records."""
    packages = [layout.ROOT / "harness", layout.ROOT / "leaderboard", layout.ROOT / "data" / "manifests"]
    found = [path for package in packages for path in files_below(package) if path.suffix != ".pyc"]
    return fingerprint(found)


def track_fingerprint(folder: Path, code: str) -> str:
    return fingerprint(files_below(folder), code)


def documents() -> list[Path]:
    """The museum of cheats and the notes on the audit, which pages of the site show."""
    return [layout.ROOT / "docs" / "museum.md", layout.ROOT / "docs" / "audit-notes.md"]


def site_fingerprint() -> str:
    """Of everything a build reads."""
    code = code_fingerprint()
    return fingerprint(documents(), *(track_fingerprint(folder, code) for folder in track_folders()))


def _sentences(summaries: list[TrackSummary]) -> Iterator[str]:
    for summary in summaries:
        if summary.problem:
            yield f"{summary.name}: {summary.problem}"
        yield from (f"{summary.name}/{name}: {why}" for name, _, why in summary.broken)


# ------------------------------------------------------------------------------------------------- one track


def _build_track(folder: Path, group: FileGroup, output: Output, renderer: Renderer) -> TrackSummary:
    def draw(key: str, make: Callable[[], str]) -> str:
        return output.fragment(group, key, make)

    collection = read_collection(folder)
    pages, files = track_pages(collection, draw)
    for page in [*pages, *_pages_of(collection, draw)]:
        output.put(group, page.address, renderer.render(page))
    rows = rows_of(collection)
    as_json, as_csv = downloads.standings(collection.name, newest_first(rows))
    files |= {
        addresses.standings(collection.name, "json"): as_json,
        addresses.standings(collection.name, "csv"): as_csv,
        addresses.runs(collection.name): downloads.runs_csv(collection),
    }
    for own in collection.own:
        files |= _files_of(own, collection)
    for reported in collection.reported:
        files |= campaign_files(reported, collection.name)
    for address, content in files.items():
        output.put(group, address, content)
    summary = _summary(collection, rows)
    group.summary = json.loads(TypeAdapter(TrackSummary).dump_json(summary))
    return summary


def _pages_of(collection: Collection, draw: Draw) -> Iterator[Page]:
    """Of every record, and the audit."""
    track = collection.name
    for own in collection.own:
        record = record_view(own, collection, draw)
        title = record.record.statement.title if record.record else own.name
        yield Page(addresses.record(track, own.name), "record.html", title, record)
        if record.record is not None:
            files = read_source(own)
            yield Page(
                addresses.source(track, own.name),
                "source.html",
                f"Source of {title}",
                source_view(own, track, files, draw),
            )
            yield Page(
                addresses.difference(track, own.name),
                "diff.html",
                f"Changes of {title}",
                diff_view(own, collection, files, draw),
            )
    for reported in collection.reported:
        view = campaign_view(reported, collection)
        said = reported.campaign.statement
        yield Page(address_of(collection, reported), "campaign.html", said.title if said else reported.name, view)
    for found in collection.imported:
        view_of = imported_view(found, collection)
        yield Page(address_of(collection, found), "imported.html", found.record.title, view_of)
    yield from (page for page in (audit_page(collection), claims_page(collection)) if page is not None)


def _files_of(own: Own, collection: Collection) -> dict[str, bytes]:
    """The bytes behind a record's pages: its source as text, every run.json as it lies in the record."""
    if own.record is None or not own.record.runs:
        return {}
    track, name = collection.name, own.name
    files = {addresses.raw_source(track, name, n): content for n, content in enumerate(read_source(own).values())}
    campaigns: list[tuple[int | None, Path, list[AttemptRow]]] = [(None, own.report.path, attempted(own.record))]
    campaigns += [(n, report.path, challenge_attempts(report)) for n, report in enumerate(own.challenges)]
    for challenge, folder, attempts in campaigns:
        for found in attempts[:MAX_RUNS]:
            path = folder / layout.RECORD_RUNS_DIR / Path(found.run.run_id).name / layout.RUN_FILE
            files[addresses.run(track, name, found.number, challenge)] = _bytes_of(path)
    return files


def _bytes_of(path: Path) -> bytes:
    try:
        return read_plain(path, layout.MAX_RECORD_BYTES)
    except UserError:
        return b'{"error": "expected a run.json in the record, found none that can be read"}\n'


def _summary(collection: Collection, rows: list[BoardRow]) -> TrackSummary:
    track, reigning = collection.track, collection.reigning
    address = address_of(collection, reigning) if reigning else ""
    return TrackSummary(
        name=collection.name,
        title=track.title if track else collection.name,
        metric=track.metric if track else "train_time",
        target=track.target_val_loss if track else None,
        device=_device(collection),
        refereed=track.refereed if track else False,
        problem=collection.problem,
        rows=tuple(rows),
        reigning=next((row for row in rows if row.address == address), None),
        runs=sum(row.standing.runs for row in rows),
        broken=tuple((found.name, address_of(collection, found), found.problem) for found in collection.broken),
        flagged=sum(bool(found.audited.flags) for found in collection.imported),
        imported=len(collection.imported),
    )


def _device(collection: Collection) -> str:
    if collection.track is None:
        return ""
    hardware = collection.track.hardware
    what = "CPU core" if hardware.device == "cpu" else " / ".join(hardware.gpu_models) or "any GPU"
    return f"{hardware.world_size}x {what}"


def _summary_from(group: FileGroup) -> TrackSummary | None:
    """Of a group that is kept; None where it is not what this build would write, so that it is written again."""
    try:
        return TypeAdapter(TrackSummary).validate_python(group.summary)
    except ValidationError:
        return None


# ------------------------------------------------------------------------------------------------- all tracks


def _build_shared(summaries: list[TrackSummary], output: Output, renderer: Renderer, code: str, base_url: str) -> None:
    known = json.dumps(json.loads(TypeAdapter(list[TrackSummary]).dump_json(summaries)), sort_keys=True)
    print_ = fingerprint(documents(), code, known, base_url)
    if output.unchanged("shared", print_) is not None:
        return
    group = output.begin("shared", print_)
    for page in shared_pages(summaries, *map(_document, documents())):
        output.put(group, page.address, renderer.render(page))
    rows = [row for summary in summaries for row in summary.rows]
    output.put(group, addresses.FEED, feed(rows, base_url))
    for path in sorted(ASSETS.iterdir()):
        if path.is_file():
            output.put(group, f"assets/{path.name}", path.read_bytes())


def _document(path: Path) -> str:
    """Its Markdown; empty where there is none."""
    try:
        return read_plain(path, MAX_DOCUMENT_BYTES).decode(errors="replace")
    except UserError:
        return ""

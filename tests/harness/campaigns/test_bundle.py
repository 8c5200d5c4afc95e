"""A bundle is read with suspicion: every way to alter it has a finding that names it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.campaigns import comparable
from harness.campaigns.bundle import Bundle, file_digests, read_bundle
from harness.campaigns.ledger import ClosedEntry, digest, encode, read_ledger
from harness.errors import RecordError
from harness.formats.run import Charge, Owner, Phases, RunRecord, Windows, read_run
from harness.status import Status

TINY = Path(__file__).resolve().parents[2] / "tracks" / "tiny" / "track.toml"
PAIRS = {"baseline_times": (2.2, 2.3, 2.4, 2.5), "baseline_losses": (5.0, 5.1, 5.2, 5.3)}


@pytest.fixture(scope="session")
def original(make_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms, four pairs, one attempt that was interrupted."""
    folder = tmp_path_factory.mktemp("bundle") / "campaign"
    made: Path = make_bundle(folder, **PAIRS, uncounted={3: [Status.INTERRUPTED]})
    return made


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "campaign"))


def ids(bundle: Bundle) -> set[str]:
    assert {finding.severity for finding in bundle.findings} <= {"error"}
    return {finding.id for finding in bundle.findings}


def runs_of(folder: Path) -> list[Path]:
    return sorted((folder / "runs").iterdir())


def test_an_untouched_bundle_has_no_findings(original: Path) -> None:
    bundle = read_bundle(original)
    assert bundle.findings == ()
    assert bundle.closed
    assert len(bundle.attempts) == 9
    times_s = [run.phases.train_ns / 1e9 for run in bundle.runs("baseline") if run.phases.train_ns]
    assert times_s == [2.2, 2.3, 2.4, 2.5]
    assert [run.score.val_loss for run in bundle.runs("baseline") if run.score] == [5.0, 5.1, 5.2, 5.3]
    assert len(bundle.runs("candidate")) == 4
    (uncounted,) = [attempt for attempt in bundle.attempts if not attempt.counted]
    assert (uncounted.slot.index, uncounted.run.status) == (3, Status.INTERRUPTED)
    assert bundle.candidate is not None
    assert bundle.baseline is not None
    assert bundle.candidate.sha256 != bundle.baseline.sha256


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    raw = json.loads(path.read_bytes())
    change(raw)
    path.write_text(json.dumps(raw))


def edit_ledger(folder: Path, change: Callable[[list[bytes]], object]) -> None:
    path = folder / "ledger.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1]
    change(lines)
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def cut_lines(folder: Path, first: int, last: int) -> None:
    edit_ledger(folder, lambda lines: lines.__delitem__(slice(first, last)))


def overwrite(path: Path, content: str) -> None:
    assert path.exists()
    path.write_text(content)


def append(path: Path, content: bytes) -> None:
    path.write_bytes(path.read_bytes() + content)


def a_copy_of_a_run(folder: Path) -> None:
    shutil.copytree(runs_of(folder)[0], folder / "runs" / "2026-01-02T09-09-09Z-abcdef")


def a_linked_run(folder: Path) -> None:
    path = runs_of(folder)[0] / "run.json"
    path.rename(folder.parent / "elsewhere.json")
    path.symlink_to(folder.parent / "elsewhere.json")


def a_pipe(folder: Path) -> None:
    (folder / "track.toml").unlink()
    os.mkfifo(folder / "track.toml")


def too_much(folder: Path) -> None:
    with (runs_of(folder)[0] / "run.json").open("ab") as file:
        file.truncate(2**22)


ALTERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a run taken out": (lambda folder: shutil.rmtree(runs_of(folder)[2]), "run_missing"),
    "a run's record taken out": (lambda folder: (runs_of(folder)[2] / "run.json").unlink(), "run_missing"),
    "a curve taken out": (lambda folder: (runs_of(folder)[2] / "progress.jsonl").unlink(), "run_missing"),
    "a run put in": (a_copy_of_a_run, "run_extra"),
    "a file among the runs": (lambda folder: (folder / "runs" / "notes.txt").write_text("hello"), "run_extra"),
    "a loss edited": (
        lambda folder: edit_json(runs_of(folder)[1] / "run.json", lambda raw: raw["score"].update(val_loss=4.9)),
        "run_digest",
    ),
    "a space more in a run": (lambda folder: append(runs_of(folder)[1] / "run.json", b" "), "run_digest"),
    "a curve edited": (lambda folder: (runs_of(folder)[1] / "progress.jsonl").write_text("{}\n"), "run_digest"),
    "two runs exchanged": (
        lambda folder: exchange(runs_of(folder)[0] / "run.json", runs_of(folder)[1] / "run.json"), "run_edited",
    ),
    "a run that is a link": (a_linked_run, "run_missing"),
    "a run of four megabytes": (too_much, "run_missing"),
    "a run that is no JSON": (lambda folder: (runs_of(folder)[1] / "run.json").write_text("{"), "run_edited"),
    "source edited": (lambda folder: overwrite(folder / "candidate" / "train_gpt.py", "import os\n"), "source_digest"),
    "baseline edited": (lambda folder: (folder / "baseline" / "train_gpt.py").write_text(""), "source_digest"),
    "source taken out": (lambda folder: (folder / "candidate" / "train_gpt.py").unlink(), "source_digest"),
    "source put in": (lambda folder: (folder / "candidate" / "weights.bin").write_text("x"), "source_digest"),
    "a source folder linked in": (lambda folder: (folder / "baseline" / "etc").symlink_to("/etc"), "source_digest"),
    "a track edited": (lambda folder: append(folder / "track.toml", b"# easier\n"), "track_digest"),
    "no track": (lambda folder: (folder / "track.toml").unlink(), "track_digest"),
    "a track that is a pipe": (a_pipe, "track_digest"),
    "the end cut off": (lambda folder: edit_ledger(folder, lambda lines: lines.pop()), "not_closed"),
    "the last run cut off": (lambda folder: cut_lines(folder, -3, -1), "ledger_order"),
    "an attempt forgotten": (lambda folder: cut_lines(folder, 7, 9), "ledger_chain"),
    "half a line": (lambda folder: os.truncate(folder / "ledger.jsonl", (folder / "ledger.jsonl").stat().st_size - 9),
                    "ledger_truncated"),
}  # fmt: skip


def exchange(first: Path, second: Path) -> None:
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)


@pytest.mark.parametrize("case", ALTERED)
def test_an_altered_bundle_is_found_out(bundle: Path, case: str) -> None:
    alter, expected = ALTERED[case]
    alter(bundle)
    assert expected in ids(read_bundle(bundle))


def with_score(run: RunRecord, **changes: Any) -> RunRecord:
    assert run.score is not None
    return run.model_copy(update={"score": run.score.model_copy(update=changes)})


def with_windows(run: RunRecord, **changes: Any) -> RunRecord:
    assert run.score is not None
    return with_score(run, windows=Windows.model_validate(run.score.windows.model_dump() | changes))


def some(run: RunRecord, **changes: Any) -> RunRecord:
    return run.model_copy(update=changes)


def with_seventh_digit(run: RunRecord) -> RunRecord:
    assert run.score is not None
    return with_score(run, val_loss=round(run.score.val_loss - 1e-7, 7))


def with_a_cheaper_window(run: RunRecord) -> RunRecord:
    assert run.score is not None
    first, *others = run.score.windows.loss_sums
    return with_windows(run, loss_sums=[first - 1e-3, *others])


def in_another_slot(run: RunRecord) -> RunRecord:
    assert run.campaign is not None
    return some(run, campaign=run.campaign.model_copy(update={"slot": 9}))


def a_charge(measured_ns: int = 5 * 10**7, free_ns: int = 2 * 10**7, charged_ns: int = 3 * 10**7) -> Charge:
    return Charge(kind="first_answer", measured_ns=measured_ns, free_ns=free_ns, charged_ns=charged_ns)


def with_charges(run: RunRecord, *charges: Charge) -> RunRecord:
    """Without any, or with what its answers do not make."""
    return some(run, charges=charges)


def with_answers(run: RunRecord, first_ns: int) -> RunRecord:
    """Slower first answers than those that were charged."""
    assert run.score is not None
    assert run.score.answers is not None
    ((one, other),) = run.score.answers.pairs
    pairs = (tuple(side.model_copy(update={"first_ns": (first_ns,)}) for side in (one, other)),)
    return with_score(run, answers=run.score.answers.model_copy(update={"pairs": pairs}))


LIES: dict[str, Callable[[RunRecord], RunRecord]] = {
    "a rounder loss": lambda run: with_score(run, val_loss=4.0),
    "the seventh digit": with_seventh_digit,
    "another loss sum": lambda run: with_score(run, loss_sum=run.score.loss_sum * (1 - 1e-9) if run.score else 0.0),
    "a window's loss": with_a_cheaper_window,
    "another count": lambda run: with_score(run, count=19_999),
    "a window left out": lambda run: with_windows(run, counts=run.score.windows.counts[:-1] if run.score else []),
    "windows of other lengths": lambda run: with_windows(run, tokens=255),
    "a shorter time": lambda run: some(run, phases=run.phases.model_copy(update={"train_ns": 1})),
    "a charge that is lower than its parts": lambda run: some(run, charges=(a_charge(charged_ns=10**7),)),
    "a charge below nothing": lambda run: some(run, charges=(a_charge(measured_ns=10**7, charged_ns=1),)),
    "a charge twice": lambda run: some(run, charges=(a_charge(), a_charge())),
    "no charges": with_charges,
    "one charge left out": lambda run: with_charges(run, *run.charges[:1]),
    "a charge that its answers do not make": lambda run: with_charges(run, a_charge(), *run.charges[1:]),
    "more that is free": lambda run: with_charges(run, Charge.of("first_answer", 6, 10**9), *run.charges[1:]),
    "answers that would be charged": lambda run: with_answers(run, 10**8),
    "charges without answers": lambda run: with_score(run, answers=None),
    "no phases": lambda run: some(run, phases=Phases()),
    "no stamps": lambda run: some(run, stamps=None),
    "no score": lambda run: some(run, score=None),
    "no weights": lambda run: some(run, weights=None),
    "no data": lambda run: some(run, data={}),
    "no sandbox": lambda run: some(run, sandbox=None),
    "another sandbox": lambda run: some(run, sandbox="process"),
    "another seed": lambda run: some(run, seed=(run.seed + 1) % 2**32),
    "a seed of one's own": lambda run: some(run, seed_source="user"),
    "a practice run": lambda run: some(run, practice=True),
    "a relabelled run": lambda run: some(run, relabelled=True),
    "more ranks": lambda run: some(run, world_size=4),
    "another device": lambda run: some(run, device="cuda"),
    "another track": lambda run: some(run, track=run.track.model_copy(update={"target_val_loss": 9.0})),
    "another source": lambda run: some(run, submission=run.submission.model_copy(update={"sha256": "0" * 64})),
    "another language": lambda run: some(run, language="0" * 64),
    "no language": lambda run: some(run, language=None),
    "no campaign": lambda run: some(run, campaign=None),
    "another slot": in_another_slot,
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_a_run_that_contradicts_itself_or_its_plan_is_found_though_the_chain_holds(
    make_bundle: Any, tmp_path: Path, case: str
) -> None:
    folder = make_bundle(
        tmp_path / "campaign", change=lambda run, slot: LIES[case](run) if slot.index == 2 else run
    )  # fmt: skip
    assert "run_edited" in ids(read_bundle(folder))


def on_another_boot(run: RunRecord) -> Owner:
    return run.owner.model_copy(update={"boot_id": run.run_id})


ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "torch": {"torch": "2.8.0"},
    "python": {"python": "3.13.0"},
    "CPU model": {"cpu_model": "Another CPU"},
    "CPU cores": {"cpu_cores": 64},
    "CUDA": {"cuda": "12.4"},
}


@pytest.mark.parametrize("key", ENVIRONMENTS)
def test_runs_that_are_not_alike_are_named_with_both_values(make_bundle: Any, tmp_path: Path, key: str) -> None:
    def change(run: RunRecord, slot: Any) -> RunRecord:
        changed = run.environment.model_copy(update=ENVIRONMENTS[key])
        return some(run, environment=changed, owner=on_another_boot(run)) if slot.index == 3 else run

    findings = read_bundle(make_bundle(tmp_path / "campaign", change=change)).findings
    assert {finding.id for finding in findings} == {"not_alike"}
    (value,) = ENVIRONMENTS[key].values()
    assert [(finding.found, key in finding.sentence) for finding in findings] == [(str(value), True)]
    assert findings[0].expected != findings[0].found


def test_other_data_is_not_alike(make_bundle: Any, tmp_path: Path) -> None:
    def change(run: RunRecord, slot: Any) -> RunRecord:
        assert run.text is not None
        others = {1: run.text.model_copy(update={"recipe": 99}), 2: run.text.model_copy(update={"val_tokens": 7})}
        return some(run, text=others.get(slot.index, run.text), data=dict.fromkeys(run.data, f"{slot.index:064}"))

    findings = read_bundle(make_bundle(tmp_path / "campaign", change=change)).findings
    assert [(finding.id, finding.sentence.rpartition(": ")[2]) for finding in findings] == [
        ("not_alike", "data text")
    ] * 2
    assert "recipe 99" in findings[0].found
    assert "7 to validate" in findings[1].found


def test_where_runs_read_the_same_shards_other_digests_are_not_alike() -> None:
    known = comparable.data_fingerprint({"a.bin": "1" * 64, "b.bin": "2" * 64})
    found = [
        *comparable.compare(known, comparable.data_fingerprint({"a.bin": "1" * 64, "b.bin": "0" * 64})),
        *comparable.compare(known, comparable.data_fingerprint({"a.bin": "1" * 64})),
    ]
    assert found == [("data b.bin", "2" * 64, "0" * 64), ("data b.bin", "read", "not read")]


def test_a_campaign_that_reveals_another_secret_than_it_promised_is_found(make_bundle: Any, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "campaign")
    ledger = folder / "ledger.jsonl"
    entries = list(read_ledger(ledger).entries)
    last = entries[-1]
    assert isinstance(last, ClosedEntry)
    for languages in ("0" * 64, None):
        changed = last.model_copy(update={"languages": languages, "seal": ""})
        sealed = changed.model_copy(update={"seal": digest(encode(changed))})
        ledger.write_bytes(b"".join(encode(entry) + b"\n" for entry in [*entries[:-1], sealed]))
        assert "ledger_order" in ids(read_bundle(folder)), languages


def test_what_differs_between_any_two_runs_does_not_matter(make_bundle: Any, tmp_path: Path) -> None:
    def change(run: RunRecord, slot: Any) -> RunRecord:
        world = run.environment
        world = world.model_copy(update={"kernel": f"6.{slot.index}", "memory_bytes": slot.index + 1})
        return some(run, environment=world, owner=on_another_boot(run))

    assert read_bundle(make_bundle(tmp_path / "campaign", change=change)).findings == ()


def test_a_run_that_failed_early_is_evidence_and_alike(make_bundle: Any, tmp_path: Path) -> None:
    """It has neither sandbox nor data nor stamps; that is no contradiction."""

    def change(run: RunRecord, slot: Any) -> RunRecord:
        if slot.index != 1:
            return run
        early = {"status": Status.TRAIN_FAILED, "score": None, "stamps": None, "weights": None, "sandbox": None}
        return some(run, **early, data={}, phases=Phases())

    bundle = read_bundle(make_bundle(tmp_path / "campaign", change=change))
    assert bundle.findings == ()
    assert [run.status for run in bundle.runs("candidate")].count(Status.TRAIN_FAILED) == 1


def test_an_attempt_that_left_nothing_is_counted_as_lost(make_bundle: Any, tmp_path: Path) -> None:
    from harness.campaigns.ledger import open_ledger

    folder = make_bundle(tmp_path / "campaign", candidate_times=(1,), candidate_losses=(5,), closed=False)
    path = folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")
    shutil.rmtree(folder / "runs")
    with open_ledger(folder) as (_, writer):
        writer.attempt(0, "2026-01-02T03-04-05Z-aaaaaa")
        writer.outcome(0, "2026-01-02T03-04-05Z-aaaaaa", Status.ABANDONED, {})
    bundle = read_bundle(folder)
    assert (bundle.lost, bundle.attempts, ids(bundle)) == (1, (), {"not_closed"})
    with open_ledger(folder) as (_, writer):
        writer.attempt(0, "2026-01-02T03-04-05Z-bbbbbb")
        writer.outcome(0, "2026-01-02T03-04-05Z-bbbbbb", Status.TRAIN_FAILED, {})
    assert "run_missing" in ids(read_bundle(folder)), "a run that ended by the submission's doing has a record"


def test_sources_may_lie_elsewhere(bundle: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (bundle / "candidate").rename(moved)
    shutil.rmtree(bundle / "baseline")
    assert "source_digest" in ids(read_bundle(bundle))
    (moved / "README.md").write_text("a record holds other files as well")
    assert read_bundle(bundle, {"candidate": moved, "baseline": None}).findings == ()
    assert read_bundle(bundle, {"candidate": moved}).findings == ()
    (moved / "train_gpt.py").write_text("")
    assert ids(read_bundle(bundle, {"candidate": moved})) == {"source_digest"}


@pytest.mark.parametrize("content", [b"", b"{}\n", b"\n", b"\xff\n", b"[" * 10_000])
def test_without_a_plan_there_is_no_bundle(bundle: Path, content: bytes) -> None:
    (bundle / "ledger.jsonl").write_bytes(content)
    with pytest.raises(RecordError, match="expected a plan"):
        read_bundle(bundle)


def test_a_local_log_or_weights_are_no_evidence(bundle: Path) -> None:
    (runs_of(bundle)[0] / "log.txt").write_text("hello")
    assert read_bundle(bundle).findings == ()
    assert set(file_digests(runs_of(bundle)[0])) == {"run.json", "progress.jsonl"}


def test_a_record_in_git_stays_small(make_bundle: Any, tmp_path: Path) -> None:
    """26 runs on a GPT-2 track, 10 million targets each, fit into a megabyte."""
    track = Path(__file__).resolve().parents[3] / "records" / "gpt2-small-8xh100" / "track.toml"
    times, losses = [100 + i / 10 for i in range(13)], [3.27 + i / 1e4 for i in range(13)]
    folder = make_bundle(tmp_path / "campaign", track, times, losses, times, losses)
    bundle = read_bundle(folder)
    assert bundle.findings == ()
    run = read_run(runs_of(folder)[0])
    assert run.score is not None
    assert len(run.score.windows.counts) <= 512
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2**20


def test_source_beside_a_records_own_files_takes_none_of_their_names(make_bundle: Any, tmp_path: Path) -> None:
    """Nobody who reads a record expects its source in the files that tell of it."""
    sources = {"candidate": {"train_gpt.py": "def train(run): ...\n", "README.md": "words\n", "runs/a.py": "x = 1\n"}}
    folder = make_bundle(tmp_path / "campaign", sources=sources)
    assert read_bundle(folder).findings == ()
    shutil.copytree(folder / "candidate", folder, dirs_exist_ok=True)
    found = read_bundle(folder, {"candidate": folder}).findings
    taken = [finding.sentence for finding in found if finding.id == "source_digest"]
    assert taken == [f"candidate: {name!r} is no name for source" for name in ("README.md", "runs/a.py")]


@pytest.mark.parametrize(("rules", "found"), [("1.9", set()), ("2.0", {"run_edited"}), ("10.1", {"run_edited"})])
def test_answers_are_timed_since_rules_2(make_bundle: Any, tmp_path: Path, rules: str, found: set[str]) -> None:
    """Older runs were not; of a newer one they cannot be left out together with their charges."""
    track = tmp_path / "track.toml"
    track.write_text(TINY.read_text().replace('rules_version = "1.0"', f'rules_version = "{rules}"'))

    def silent(run: RunRecord, _: object) -> RunRecord:
        return with_charges(with_score(run, answers=None))

    assert ids(read_bundle(make_bundle(tmp_path / "with", track=track))) == set()
    assert ids(read_bundle(make_bundle(tmp_path / "without", track=track, change=silent))) == found

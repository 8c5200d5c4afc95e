"""Verification: whatever is changed in a record, by accident or by hand, is found."""

import hashlib
import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer.testing
from typer import Typer

from harness.cli.verify import summary
from harness.errors import UserError
from harness.formats import layout
from harness.records.challenging import attach
from harness.records.manifest import read_manifest, write_manifest
from harness.records.record import Record, read_record
from harness.records.signing import fingerprint_of_key, sign
from harness.records.tree_digest import write_digests
from harness.records.verdict import derive_verdict, verdict_bytes
from harness.records.verification import NOT_IN_MANIFEST, verify_each, verify_record
from leaderboard.cli.verify import verify

Make = Callable[..., Path]
DAY = date(2026, 1, 5)
MUTATIONS = 552  # at least 500 of them change something
FAST, SLOW, LOSSES = (1.5, 1.51), (2.0, 2.01), (5.01, 5.02)  # few runs: the fuzz reads them a thousand times
OLD = {"train_gpt.py": "def train(run): ...\ndef load(weights, device): ...\n"}
NEW = {"train_gpt.py": OLD["train_gpt.py"] + "NEW = 1\n", "kernels.py": "# a second file\n"}


@pytest.fixture
def two_records(tmp_path: Path, make_bundle: Make, make_record: Make) -> Path:
    """The second of two records of the tiny track, with a challenge."""
    first = make_record(make_bundle(tmp_path / "a"), "First")
    bundle = make_bundle(
        tmp_path / "b", candidate_times=FAST, baseline_times=SLOW, candidate_losses=LOSSES, seed=3,
        baseline_record=first.name, sources={"candidate": NEW, "baseline": OLD},
    )  # fmt: skip
    folder = make_record(bundle, "Second", day=date(2026, 1, 4))
    again = make_bundle(
        tmp_path / "c", sources={"candidate": NEW}, candidate_times=SLOW, candidate_losses=LOSSES, seed=9
    )
    attach(folder, again, author="Bob", day=DAY, key=None, expected=None, dry_run=False)
    return folder


def holds(folder: Path, before: list[Record]) -> bool:
    return all(report.holds for report in verify_record(folder, before))


# --------------------------------------------------------------------------------------------------- the fuzz


@dataclass
class Damage:
    """Seeded ways to change a record."""

    folder: Path
    rng: random.Random
    free: frozenset[str] = frozenset()  # names it leaves alone

    def files(self, pattern: str = "*") -> list[Path]:
        """All but the prose, which no digest covers."""
        found = sorted(p for p in self.folder.rglob(pattern) if p.is_file())
        return [p for p in found if p != self.folder / layout.README_FILE and p.name not in self.free]

    def pick(self, pattern: str = "*") -> Path:
        return self.rng.choice([p for p in self.files(pattern) if p.stat().st_size > 1])

    def flip(self) -> None:
        path, content, at = self._at()
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << self.rng.randrange(8)]) + content[at + 1 :])

    def drop_byte(self) -> None:
        path, content, at = self._at()
        path.write_bytes(content[:at] + content[at + 1 :])

    def insert_byte(self) -> None:
        path, content, at = self._at()
        path.write_bytes(content[:at] + bytes([self.rng.randrange(256)]) + content[at:])

    def swap_bytes(self) -> None:
        path, content, at = self._at()
        others = [i for i in range(len(content)) if content[i] != content[at]]
        other = self.rng.choice(others)
        changed = bytearray(content)
        changed[at], changed[other] = changed[other], changed[at]
        path.write_bytes(bytes(changed))

    def truncate(self) -> None:
        path, content, at = self._at()
        path.write_bytes(content[:at])

    def append(self) -> None:
        path = self.pick()
        path.write_bytes(path.read_bytes() + self.rng.choice([b"\n", b" ", b"\0", b"{}\n"]))

    def line_ends(self) -> None:
        path = self.pick("*.json*")
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    def delete(self) -> None:
        self.pick().unlink()

    def add(self) -> None:
        parent = self.rng.choice(self.files()).parent
        name = self.rng.choice(["extra.py", ".hidden", "run.json.bak", "sitecustomize.py", "x" * 200])
        (parent / name).write_text(self.rng.choice(["", "x = 1\n"]))

    def rename_file(self) -> None:
        path = self.pick()
        path.rename(path.with_name(path.name + self.rng.choice([".old", "~", "x"])))

    def link(self) -> None:
        path = self.pick()
        path.rename(self.folder.parent.parent / "elsewhere")
        path.symlink_to(self.folder.parent.parent / "elsewhere")

    def number_in_a_run(self) -> None:
        self._number("run.json")

    def number_anywhere(self) -> None:
        self._number(self.rng.choice(["verdict.json", "ledger.jsonl", "manifest.json", "progress.jsonl"]))

    def digest(self) -> None:
        path = self.pick(self.rng.choice(["manifest.json", "ledger.jsonl", "run.json"]))
        text = path.read_text()
        found = self.rng.choice(list(re.finditer(r"[0-9a-f]{64}", text)))
        path.write_text(text[: found.start()] + self.rng.randbytes(32).hex() + text[found.end() :])

    def drop_line(self) -> None:
        path = self.pick("ledger.jsonl")
        lines = path.read_bytes().splitlines(keepends=True)
        lines.pop(self.rng.randrange(len(lines)))
        path.write_bytes(b"".join(lines))

    def swap_lines(self) -> None:
        path = self.pick("ledger.jsonl")
        lines = path.read_bytes().splitlines(keepends=True)
        a, b = self.rng.sample(range(len(lines)), 2)
        lines[a], lines[b] = lines[b], lines[a]
        path.write_bytes(b"".join(lines))

    def repeat_line(self) -> None:
        path = self.pick("ledger.jsonl")
        lines = path.read_bytes().splitlines(keepends=True)
        lines.insert(self.rng.randrange(len(lines)), self.rng.choice(lines))
        path.write_bytes(b"".join(lines))

    def swap_runs(self) -> None:
        """The files of two runs change places, names and all."""
        a, b = self.rng.sample([p.parent for p in self.files("run.json")], 2)
        for name in (layout.RUN_FILE, layout.PROGRESS_FILE)[: self.rng.choice([1, 2])]:
            x, y = (a / name).read_bytes(), (b / name).read_bytes()
            (a / name).write_bytes(y)
            (b / name).write_bytes(x)

    def rename_run(self) -> None:
        path = self.pick("run.json").parent
        path.rename(path.with_name(path.name[:-1] + ("0" if path.name[-1] != "0" else "f")))

    def copy_run(self) -> None:
        path = self.pick("run.json").parent
        shutil.copytree(path, path.with_name(path.name[:-6] + "ffffff"))

    def drop_run(self) -> None:
        shutil.rmtree(self.pick("run.json").parent)

    def field_of_the_statement(self) -> None:
        path = self.folder / layout.RECORD_FILE
        said = json.loads(path.read_bytes())
        key = self.rng.choice(sorted(said))
        said[key] = {str: "other", int: 1, list: ["other"]}[type(said[key])]
        path.write_text(json.dumps(said, indent=1) + "\n")

    def finding_of_the_verdict(self) -> None:
        path = self.folder / layout.VERDICT_FILE
        verdict = json.loads(path.read_bytes())
        finding = {"id": "x", "severity": "warning", "sentence": "x", "expected": "x", "found": "x"}
        verdict[self.rng.choice(["findings", "waived"])].append(finding)
        path.write_text(json.dumps(verdict, indent=1, sort_keys=True) + "\n")

    def _at(self) -> tuple[Path, bytes, int]:
        path = self.pick()
        content = path.read_bytes()
        return path, content, self.rng.randrange(len(content))

    def _number(self, pattern: str) -> None:
        path = self.pick(pattern)
        text = path.read_text()
        found = self.rng.choice(list(re.finditer(r"(?<=[ :,\[])-?\d+(\.\d+)?(?=[,\]}\n])", text)))
        value = float(found.group()) if "." in found.group() else int(found.group())
        other = self.rng.choice([value + 1, value * 0.9 if isinstance(value, float) else value + 7, 0 if value else 1])
        path.write_text(text[: found.start()] + json.dumps(other) + text[found.end() :])


CLASSES = sorted(name for name, value in vars(Damage).items() if callable(value) and not name.startswith("_"))
CLASSES = [name for name in CLASSES if name not in ("files", "pick")]
FREE = frozenset({layout.RECORD_FILE, layout.VERDICT_FILE, layout.MANIFEST_FILE})
DEEP = [
    "flip", "drop_byte", "insert_byte", "swap_bytes", "truncate", "delete", "number_in_a_run", "drop_line",
    "swap_lines", "repeat_line", "swap_runs", "rename_run", "copy_run", "drop_run", "rename_file",
]  # fmt: skip


def test_no_corruption_of_a_record_passes(two_records: Path) -> None:
    """Every class of damage, many times, without recomputing any digest: none is overlooked."""
    before = [read_record(two_records.parent / "2026-01-03_First")]
    pristine = _snapshot(two_records)
    assert holds(two_records, before)
    overlooked, done = [], dict.fromkeys(CLASSES, 0)
    for seed in range(MUTATIONS):
        name = CLASSES[seed % len(CLASSES)]
        getattr(Damage(two_records, random.Random(seed)), name)()
        if _snapshot(two_records) != pristine:
            done[name] += 1
            if holds(two_records, before):
                overlooked.append((name, seed))
        _restore(two_records, pristine)
    assert overlooked == []
    assert sum(done.values()) >= 500
    assert min(done.values()) >= 15


def test_with_a_new_manifest_the_ledger_still_finds_it(two_records: Path) -> None:
    """Whoever recomputes the manifest alone has to answer to the chain, the plan and the digests in them."""
    before = [read_record(two_records.parent / "2026-01-03_First")]
    shutil.rmtree(two_records / layout.CHALLENGES_DIR)
    pristine = _snapshot(two_records)
    overlooked, done = [], 0
    for seed in range(120):
        damage = Damage(two_records, random.Random(seed), free=FREE)
        getattr(damage, DEEP[seed % len(DEEP)])()
        if _snapshot(two_records) != pristine:
            done += 1
            write_manifest(two_records, None, NOT_IN_MANIFEST)
            if holds(two_records, before):
                overlooked.append((DEEP[seed % len(DEEP)], seed))
        _restore(two_records, pristine)
    assert overlooked == []
    assert done >= 100


def _snapshot(folder: Path) -> dict[str, bytes | None]:
    """Path -> content; None for a folder or a link."""
    found = sorted(folder.rglob("*"))
    return {str(p): p.read_bytes() if p.is_file() and not p.is_symlink() else None for p in found}


def _restore(folder: Path, pristine: dict[str, bytes | None]) -> None:
    now = _snapshot(folder)
    for path in sorted(now.keys() - pristine.keys(), reverse=True):
        Path(path).rmdir() if Path(path).is_dir() else Path(path).unlink()
    for path, content in pristine.items():
        if content is None:
            Path(path).mkdir(exist_ok=True)
        elif now.get(path) != content:
            Path(path).unlink(missing_ok=True)
            Path(path).write_bytes(content)


def test_a_renamed_record_is_noticed(two_records: Path) -> None:
    before = [read_record(two_records.parent / "2026-01-03_First")]
    for name in ("2026-01-04_Other", "2026-01-09_Second"):
        other = two_records.rename(two_records.with_name(name))
        assert "renamed" in {finding.id for finding in verify_record(other, before)[0].errors}
        two_records = other


def test_prose_may_be_written(two_records: Path) -> None:
    (two_records / layout.README_FILE).write_text("Why it works: ...")
    assert all(report.holds for report in verify_each([two_records]))


# ------------------------------------------------------------------------- an attacker who recomputes everything


def forge(folder: Path, before: Record | None) -> None:
    """Make a record's candidate faster, consistently: runs, ledger with its chain and seal, verdict and manifest."""
    digests = {}
    for path in folder.glob("runs/*/run.json"):
        run = json.loads(path.read_bytes())
        if run["campaign"]["arm"] == "candidate":
            run["stamps"]["stop_ns"] -= 10**9
            run["phases"]["train_ns"] -= 10**9
            run["phases"]["teardown_ns"] += 10**9
        lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in run.items()]
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        digests[run["run_id"]] = hashlib.sha256(path.read_bytes()).hexdigest()
    rechain(folder / layout.LEDGER_FILE, digests)
    record = read_record(folder)
    from harness.campaigns.track_match import bundle_track

    verdict = derive_verdict(
        record.bundle, record.evidence, bundle_track(folder), record.statement, folder, predecessor=before
    )
    (folder / layout.VERDICT_FILE).write_bytes(verdict_bytes(verdict))
    write_manifest(folder, read_manifest(folder).signer, NOT_IN_MANIFEST)


def rechain(path: Path, digests: dict[str, str]) -> None:
    prev, lines = "0" * 64, []
    for line in path.read_bytes().splitlines():
        entry = json.loads(line)
        entry["prev"] = prev
        if entry["kind"] == "outcome":
            entry["files"]["run.json"] = digests[entry["run_id"]]
        if entry["kind"] == "closed":
            entry["seal"] = hashlib.sha256(compact({**entry, "seal": ""})).hexdigest()
        lines.append(compact(entry))
        prev = hashlib.sha256(lines[-1]).hexdigest()
    path.write_bytes(b"\n".join(lines) + b"\n")


def compact(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()


def errors(folder: Path) -> set[str]:
    return {finding.id for report in verify_each([folder]) for finding in report.errors}


def test_only_a_signature_stops_who_recomputes_everything(
    tmp_path: Path, make_bundle: Make, make_record: Make, make_key: Make, allow: Make
) -> None:
    """What is printed where the tiers are explained: the owner of a machine can forge a whole bundle."""
    allow(ada=make_key("ada"))
    folder = make_record(make_bundle(tmp_path / "a"), "First", make_key("ada"))
    assert errors(folder) == set()
    forge(folder, None)
    assert read_record(folder).evidence.candidate.mean_time_s == pytest.approx(1.005)  # type: ignore[union-attr]
    assert errors(folder) == {"signature"}

    (folder / layout.SIGNATURE_FILE).unlink()
    assert errors(folder) == {"signature"}  # the manifest still names its signer
    write_manifest(folder, None, NOT_IN_MANIFEST)
    assert errors(folder) == {"signature"}  # and a track with signers wants one

    mallory = make_key("mallory")
    write_manifest(folder, fingerprint_of_key(mallory), NOT_IN_MANIFEST)
    sign(folder / layout.MANIFEST_FILE, mallory)
    assert errors(folder) == {"signature"}

    (folder.parent / layout.SIGNERS_FILE).unlink()
    assert errors(folder) == set()  # where nobody is named, nobody can be missed: the tier says no more than it can


def test_a_signature_taken_away_is_missed_without_signers_too(
    tmp_path: Path, make_bundle: Make, make_record: Make, make_key: Make
) -> None:
    folder = make_record(make_bundle(tmp_path / "a"), "First", make_key("ada"))
    assert errors(folder) == set()
    kept = (folder / layout.SIGNATURE_FILE).read_bytes()
    (folder / layout.SIGNATURE_FILE).unlink()
    assert errors(folder) == {"signature"}
    (folder / layout.SIGNATURE_FILE).write_bytes(kept[:80] + (b"A" if kept[80:81] != b"A" else b"B") + kept[81:])
    assert errors(folder) == {"signature"}


# ---------------------------------------------------------------------------------------- what else is looked at


def rewrite(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file and cover it by a new manifest."""
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    write_manifest(folder, None, NOT_IN_MANIFEST)


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        (layout.VERDICT_FILE, b'"mean_time_s": 1.505', b'"mean_time_s": 1.405', "verdict_differs"),
        (layout.VERDICT_FILE, b'"findings": []', b'"findings": [{}]', "unreadable"),
        (layout.LOCK_FILE, b"torch==2.9.0", b"torch==2.8.0", "lock_differs"),
        (layout.RECORD_FILE, b"2026-01-03_First", b"2026-01-03_Worst", "parent_unknown"),
        (layout.RECORD_FILE, b'"track": "tiny"', b'"track": "huge"', "own_track"),
        (layout.TRACK_FILE, b"alpha = 0.01", b"alpha = 0.05", "track_changed"),
        ("train_gpt.py", b"NEW = 1", b"NEW = 2", "source_digest"),
        (layout.LEDGER_FILE, b'"seq":3', b'"seq":4', "ledger_chain"),
    ],
)  # fmt: skip
def test_a_new_manifest_hides_nothing(two_records: Path, name: str, old: bytes, new: bytes, expected: str) -> None:
    assert old in (two_records / name).read_bytes()
    rewrite(two_records, name, lambda content: content.replace(old, new))
    assert expected in errors(two_records)


def test_files_that_do_not_belong_are_told_even_with_a_manifest(two_records: Path) -> None:
    (two_records / "weights.bin").write_bytes(b"0")
    write_manifest(two_records, None, NOT_IN_MANIFEST)
    assert errors(two_records) == {"foreign"}


def test_a_big_record_is_told(two_records: Path) -> None:
    (two_records / layout.README_FILE).write_text("x" * 2**20)
    assert "record_size" in errors(two_records)


def test_a_record_without_prose_or_with_a_file_for_challenges(two_records: Path) -> None:
    (two_records / layout.README_FILE).unlink()
    shutil.rmtree(two_records / layout.CHALLENGES_DIR)
    (two_records / layout.CHALLENGES_DIR).write_text("")
    assert errors(two_records) == {"readme", "foreign"}


def test_a_baseline_must_stay_where_it_was(two_records: Path) -> None:
    shutil.rmtree(two_records.parent / "2026-01-03_First")
    assert "baseline_source" in errors(two_records)


def test_old_rules_are_kept_and_their_verdicts_too(two_records: Path, contest: Path) -> None:
    """A track gets stricter: what was accepted under its earlier rules stays as it is, if those rules are kept."""
    old = (contest / layout.TRACK_FILE).read_text()
    (contest / layout.TRACK_FILE).write_text(
        re.sub('rules_version = ".*?"', 'rules_version = "9.0"', old).replace("min_runs = 2", "min_runs = 9")
    )
    assert "track_changed" in errors(two_records)
    (contest / layout.PAST_RULES_DIR).mkdir()
    (contest / layout.PAST_RULES_DIR / "old.toml").write_text(old)
    assert errors(two_records) == set()
    rewrite(two_records, layout.VERDICT_FILE, lambda content: content.replace(b"1.505", b"1.405"))
    assert errors(two_records) == {"verdict_differs"}


def test_a_plan_with_a_test_or_a_target_of_its_own_is_told(tmp_path: Path, make_bundle: Make) -> None:
    """The chain of a campaign is its owner's: what its plan says of the track is compared with the track."""
    for old, new, expected in (
        ('"alpha":0.01', '"alpha":0.5', "planned_test"),
        ('"target_val_loss":6.0', '"target_val_loss":9.0', "track_digest"),
    ):
        bundle = make_bundle(tmp_path / expected)
        path = bundle / layout.LEDGER_FILE
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        rechain(path, _digests(bundle))
        assert expected in errors(bundle)
        assert "ledger_chain" not in errors(bundle)


def _digests(bundle: Path) -> dict[str, str]:
    return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in bundle.glob("runs/*/run.json")}


def test_other_data_and_other_lengths_are_told(tmp_path: Path, contest: Path, make_bundle: Make) -> None:
    from harness.records.submitting import Claims, draft

    def other(run: Any, _: Any) -> Any:
        score = run.score.model_copy(update={"count": 10, "windows": run.score.windows})
        text = run.text.model_copy(update={"train_tokens": 7})
        return run.model_copy(update={"text": text, "score": score})

    drafted = draft(make_bundle(tmp_path / "b", change=other), Claims(title="T", authors=("A",), date=DAY))
    assert {"dataset", "val_tokens", "run_edited"} <= {finding.id for finding in drafted.errors}


@pytest.mark.parametrize("lie", ["digest", "entropy", "shard", "silence"])
def test_the_text_of_every_run_is_made_anew_from_its_language(
    tmp_path: Path, contest: Path, make_bundle: Make, lie: str
) -> None:
    """The chain holds, and so does all that a run says of itself; its language's text is another."""

    def lies(run: Any, slot: Any) -> Any:
        name = next(name for name in run.data if "_val_" in name)
        changes = {
            "digest": {"data": {**run.data, name: "0" * 64}},
            "entropy": {"text": run.text.model_copy(update={"entropy": 1.0})},
            "shard": {"data": {**run.data, "another.bin": "0" * 64}},
            "silence": {"text": None},
        }
        return run.model_copy(update=changes[lie]) if slot.index == 1 else run

    assert [report.errors for report in verify_each([make_bundle(tmp_path / "honest")])] == [()]
    (report,) = verify_each([make_bundle(tmp_path / "lying", change=lies)])
    assert "dataset" in {finding.id for finding in report.errors}


def test_nothing_foreign_among_the_records(two_records: Path, contest: Path) -> None:
    write_digests(contest.parent)
    assert errors(contest.parent) == set()
    assert len(list(verify_each([contest.parent]))) == 5  # the tree, its track, two records, one challenge
    (contest / "notes.txt").write_text("")
    assert errors(contest) == {"foreign"}


def test_a_record_without_its_campaign_is_none(two_records: Path, contest: Path) -> None:
    """The first form of records, which kept no ledger: nobody could tell it from runs that somebody typed."""
    made = next(path for path in sorted(contest.glob("*/")) if (path / "ledger.jsonl").exists())
    for name in ("ledger.jsonl", "manifest.json", "verdict.json", "requirements.lock", "track.toml"):
        (made / name).unlink()
    said = json.loads((made / "record.json").read_text())
    first = {key: said[key] for key in ("track", "title", "authors", "date")} | {"schema_version": 1}
    (made / "record.json").write_text(json.dumps(first))
    assert "unreadable" in errors(contest)


def test_what_is_reported_is_a_measured_result_of_this_track(two_records: Path, contest: Path) -> None:
    folder = contest / layout.REPORTED_DIR
    folder.mkdir()
    (folder / "notes.txt").write_text("")
    assert errors(contest) == {"reported"}
    (folder / "notes.txt").unlink()
    assert errors(contest) == set()
    real = sorted((layout.ROOT / "records").glob(f"*/{layout.REPORTED_DIR}/*.json"))
    shutil.copy(real[0], folder / "2026-01-02_Elsewhere.json")  # of another track
    assert errors(contest) == {"reported"}


def test_bundles_are_verified_where_they_lie(tmp_path: Path, make_bundle: Make) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (report,) = verify_each([bundle])
    assert (report.kind, report.holds) == ("bundle", True)
    next(bundle.glob("runs/*/progress.jsonl")).unlink()
    assert errors(bundle) == {"run_missing"}
    (bundle / layout.LEDGER_FILE).write_bytes(b"")
    assert errors(bundle) == {"unreadable"}


def test_a_path_that_is_nothing_is_a_mistake(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "2026-01-01_Nothing"):
        with pytest.raises(UserError, match="expected a record, a bundle, a track"):
            list(verify_each([path]))


def test_the_command_says_it_for_people_machines_and_pull_requests(two_records: Path, contest: Path) -> None:
    app, runner = Typer(), typer.testing.CliRunner()
    app.command()(verify)
    write_digests(contest.parent)
    for argument in ("--json", "--markdown", None):
        good = runner.invoke(app, [str(contest.parent), *([argument] if argument else [])])
        assert good.exit_code == 0, good.output
    told = json.loads(runner.invoke(app, [str(contest), "--json"]).stdout)
    assert told["holds"]
    assert [report["kind"] for report in told["reports"]] == ["track", "record", "record", "challenge"]
    next(two_records.glob("runs/*/run.json")).unlink()
    bad = runner.invoke(app, [str(contest)])
    assert bad.exit_code == 1
    assert "run_missing" in bad.stdout
    assert "1 broken" in bad.stdout
    assert json.loads(runner.invoke(app, [str(contest), "--json"]).stdout)["holds"] is False


def test_the_summary_says_whether_it_is_faster_and_neutralises_strangers(two_records: Path) -> None:
    rewrite(
        two_records,
        layout.RECORD_FILE,
        lambda content: content.replace(b'"title": "Second"', b'"title": "@all <b>x</b> | [x](http://y) `code`"'),
    )
    text = "\n".join(summary(list(verify_each([two_records]))))
    assert "**significantly faster** than `2026-01-03_First`" in text
    assert "`@all <b>x</b>   [x](http://y)  code`" in text
    assert "| candidate | 2 | 1.505 ± 0.064 s |" in text


# ------------------------------------------------------------------------------- campaigns told twice, other copies


@pytest.mark.parametrize("attached", [False, True])
def test_a_record_of_a_campaign_that_stands_already_is_found(
    tmp_path: Path, make_bundle: Make, make_record: Make, attached: bool
) -> None:
    """Whose baseline arm, or whole campaign, is another's: as a record's, or as one that was attached to a record."""
    from harness.errors import UserError
    from harness.records.submitting import Claims, draft, write

    first = make_bundle(tmp_path / "a")
    record = make_record(first, "First")
    bundle = first
    if attached:
        bundle = make_bundle(tmp_path / "b", candidate_losses=(5.1, 5.0, 5.2, 4.9))
        attach(record, bundle, author="Bob", day=DAY, key=None, expected=None, dry_run=False)
    drafted = draft(bundle, Claims(title="Again", authors=("Eve",), date=date(2026, 1, 6)), None)
    with pytest.raises(UserError, match=r"copied|error-level|the campaign is that of"):
        write(drafted, None)


def test_a_baseline_arm_copied_from_an_earlier_record_is_found(
    tmp_path: Path, make_bundle: Make, make_record: Make
) -> None:
    """To the last digit: weights, losses and stamps of an older race, under new names."""
    first = make_record(
        make_bundle(tmp_path / "a", sources={"candidate": OLD}, candidate_times=SLOW, candidate_losses=LOSSES), "First"
    )
    old = read_record(first).runs

    def copy(run: Any, slot: Any) -> Any:
        theirs = old[slot.pair]
        return run.model_copy(update={"weights": theirs.weights}) if slot.arm == "baseline" else run

    bundle = make_bundle(
        tmp_path / "b", candidate_times=FAST, baseline_times=SLOW, candidate_losses=LOSSES, seed=3,
        baseline_record=first.name, sources={"candidate": NEW, "baseline": OLD}, change=copy,
    )  # fmt: skip
    folder = tmp_path / "forged"
    with pytest.MonkeyPatch.context() as patch:  # as a forger would write it
        patch.setattr("harness.records.verification.check_copies", lambda *_: [])
        folder = make_record(bundle, "Second", day=date(2026, 1, 4))
    found = {finding.id for report in verify_each([folder.parent]) for finding in report.errors}
    assert found == {"copied_run"}


def test_the_command_holds_a_tree_against_another(two_records: Path, tmp_path: Path) -> None:
    app, runner = Typer(), typer.testing.CliRunner()
    app.command()(verify)
    root = two_records.parent.parent
    assert runner.invoke(app, [str(root)]).exit_code == 1  # no digests yet
    assert runner.invoke(app, [str(root), "--write-digests"]).exit_code == 0
    assert runner.invoke(app, [str(root)]).exit_code == 0
    kept = shutil.copytree(root, tmp_path / "kept")
    (two_records / layout.README_FILE).write_text("# Forged words\n")
    assert "file_altered" in runner.invoke(app, [str(root)]).output
    write_digests(root)
    assert runner.invoke(app, [str(root)]).exit_code == 0
    held = runner.invoke(app, [str(root), "--against", str(kept), "--json"])
    assert held.exit_code == 1
    assert [f["id"] for report in json.loads(held.stdout)["reports"] for f in report["findings"]][:1] == [
        "file_altered"
    ]
    assert isinstance(runner.invoke(app, [str(two_records), "--write-digests"]).exception, UserError)
    assert isinstance(runner.invoke(app, [str(two_records), "--against", str(kept)]).exception, UserError)

"""Seeded fuzzing of everything that reads what a stranger wrote: one clear sentence or a result, never a traceback.

Each reader gets a valid file that was damaged: bytes flipped, cut, doubled, or one value of its JSON or TOML exchanged
for a hostile one. What it raises must be of its own family of errors, in one printable line of bounded length.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import DataError
from data.shards import read_shard, write_shard
from harness.campaigns.bundle import read_bundle
from harness.campaigns.ledger import read_ledger
from harness.errors import RecordError, RunFailure, TrackError, UserError
from harness.formats import messages, weights
from harness.formats.run import read_run
from harness.formats.track import load_track
from harness.records.manifest import read_manifest
from harness.records.record import read_record
from harness.records.verdict import read_verdict
from harness.records.verification import verify_each

EXAMPLES = 100  # damaged files for each reader
ROOT = Path(__file__).resolve().parent.parent.parent
HOSTILE: list[Any] = [
    None, True, -1, 0, 2**31, 2**63, 2**200, -(2**200), 1e308, 1e-320, "", "x" * 5000, "\0", "\ud800",
    "\x1b]0;owned\x07", "\u202e", "../../../../etc/passwd", "/etc/passwd", "a\nb", [], {}, [[]] * 50,
    [[[[[[[[]]]]]]]], {"": {"": {}}}, "nan", "9999-99-99", "1e999", [None] * 1000,
]  # fmt: skip
RAW = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" * 5000, b"[" * 5000, b'{"a":' * 5000, b"\xff\xfe", b"\0"]


@dataclass(frozen=True)
class Reader:
    """One thing that is read: the file, how to read it, what it may raise."""

    name: str
    file: str  # below the folder
    read: Callable[[Path], object]  # of the folder
    raises: tuple[type[Exception], ...] = ()


def real(folder: Path) -> Path:
    """The record at its place among the records of its track."""
    return (folder / "record").resolve()


READERS = [
    Reader("shard", "shard.bin", lambda folder: np.asarray(read_shard(folder / "shard.bin")).sum(), (DataError,)),
    Reader("track", "bundle/track.toml", lambda folder: load_track(f"{folder}/bundle/track.toml"), (TrackError,)),
    Reader("run", "run/run.json", lambda folder: read_run(folder / "run"), (RecordError,)),
    Reader("ledger", "bundle/ledger.jsonl", lambda folder: read_ledger(folder / "bundle/ledger.jsonl"), (RecordError,)),
    Reader("bundle", "bundle/ledger.jsonl", lambda folder: read_bundle(folder / "bundle"), (RecordError,)),
    Reader("statement", "record/record.json", lambda folder: read_record(real(folder)), (RecordError,)),
    Reader("manifest", "record/manifest.json", lambda folder: read_manifest(real(folder)), (RecordError,)),
    Reader("verdict", "record/verdict.json", lambda folder: read_verdict(real(folder)), (RecordError,)),
    Reader("verify a bundle's run", "RUN", lambda folder: holds_not(folder / "bundle")),
    Reader("verify a record's track", "record/track.toml", lambda folder: list(verify_each([real(folder)]))),
    Reader("verify a record's lock", "record/requirements.lock", lambda folder: holds_not(real(folder))),
    Reader("verify a record's verdict", "record/verdict.json", lambda folder: holds_not(real(folder))),
]  # fmt: skip


def holds_not(folder: Path) -> None:
    assert not all(report.holds for report in verify_each([folder]))


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory, make_bundle: Callable[..., Path]) -> Path:
    """A folder with one valid file of every kind."""
    from datetime import date

    from harness.records.submitting import Claims, draft, write

    folder = tmp_path_factory.mktemp("evidence")
    contest = folder / "records" / "tiny"
    contest.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "tracks" / "tiny" / "track.toml", contest)
    bundle = make_bundle(folder / "bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEEDRUN_RECORDS", str(contest.parent))
        drafted = draft(bundle, Claims(title="First", authors=("Ada",), date=date(2026, 1, 3)))
        write(drafted, None)
    (folder / "record").symlink_to(drafted.folder)
    (folder / "run").symlink_to(next((bundle / "runs").iterdir()))
    write_shard(folder / "shard.bin", np.arange(100))
    return folder


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The same file, but for one thing; text formats are damaged in their values as often as in their bytes."""
    kind = rng.randrange(8)
    at = rng.randrange(len(content) + 1)
    if kind == 0:
        return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
    if kind == 1:
        return content[:at]
    if kind == 2:
        return content[:at] + content
    if kind == 3:
        return content[:at] + rng.choice(RAW) + content[at + rng.randrange(20) :]
    if kind == 4:
        return rng.choice([b"", b"null", b"[]", b"{}", b"\n" * 1000, b"[" * 100_000, rng.randbytes(1200), *RAW])
    return exchanged(content, rng)


def exchanged(content: bytes, rng: random.Random) -> bytes:
    """One value somewhere in a line of JSON, or of TOML, or one number of a header, becomes another."""
    try:
        lines = [content] if content.lstrip().startswith(b"{\n") else content.splitlines(keepends=True)
        index = rng.randrange(len(lines))
        value = json.loads(lines[index])
        place = rng.choice(list(places(value)))
        parent: Any = value
        for key in place[:-1]:
            parent = parent[key]
        parent[place[-1]] = rng.choice(HOSTILE)
        lines[index] = json.dumps(value).encode() + b"\n"
        return b"".join(lines)
    except (ValueError, IndexError, UnicodeDecodeError):
        pass
    lines = content.splitlines(keepends=True)
    index = rng.randrange(len(lines))
    key, separator, _ = lines[index].partition(b" = ")
    if separator:
        lines[index] = (
            key + separator + rng.choice([b"-1", b"nan", b"inf", b"1e999", b'""', b"[]", b"{}", b"9" * 400]) + b"\n"
        )
        return b"".join(lines)
    at = 4 * rng.randrange(4)
    return content[:at] + rng.choice([b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80"]) + content[at + 4 :]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name.replace(" ", "-"))
def test_a_damaged_file_is_one_sentence_or_a_result(evidence: Path, reader: Reader) -> None:
    path = evidence / reader.file if reader.file != "RUN" else evidence / "run" / "run.json"
    intact, rng = path.read_bytes(), random.Random(reader.name)
    examples = EXAMPLES // 10 if reader.name.startswith("verify") else EXAMPLES
    refused = 0
    if reader.raises:
        reader.read(evidence)  # undamaged, it can be read
    try:
        for _ in range(examples):
            content = damaged(intact, rng)
            if content == intact:
                continue
            path.write_bytes(content)
            try:
                reader.read(evidence)
            except reader.raises as error:
                refused += 1
                assert_a_sentence(str(error))
    finally:
        path.write_bytes(intact)
    assert refused > examples // 4 or not reader.raises or reader.name in ("ledger", "bundle"), "it refuses nothing"


def assert_a_sentence(text: str) -> None:
    assert text
    assert text.isprintable(), repr(text)
    assert len(text) < 6000, len(text)  # the longest hostile value, quoted once


def test_every_reserved_header_is_planned_or_refused() -> None:
    rng = random.Random(0)
    good = {"name": "w", "dtype": "float32", "shape": [2, 3]}
    planned = refused = 0
    sentences: list[str] = []
    for _ in range(600):
        shapes = [dict(good, name=f"w{i}") for i in range(rng.randrange(1, 4))]
        shape = rng.choice(shapes)
        shape[rng.choice(["name", "dtype", "shape", "more"])] = rng.choice(
            [
                *HOSTILE,
                [2**61, 2**61],
                [0, 2**61],
                [1] * 16,
                [1] * 17,
                [-1],
                [True],
                [1.0],
                "bool",
                "int64",
                "complex64",
            ]
        )
        body = json.dumps({"kind": "reserve", "weights": shapes}).encode("utf-8", "replace")
        try:
            message = messages.parse(body)
            assert isinstance(message, messages.Reserve)
            buffer = weights.plan(0, message.weights)
            weights.check_union([buffer], 10**9)
            assert buffer.size <= 10**9
            planned += 1
        except (ValueError, RunFailure) as error:
            refused += 1
            sentences.append(str(error))
    assert planned > 20
    assert refused > 200
    assert max(map(len, sentences)) < 6000


BOMBS = {
    "deep JSON": b"[" * 500_000,
    "deep objects": b'{"a":' * 100_000,
    "a long number": b"1" * 1_000_000,
    "a long text": b'{"run_id": "' + b"x" * 8_000_000 + b'"}',
    "many keys": b"{" + b",".join(b'"%d":0' % i for i in range(50_000)) + b"}",
    "many lines": b"{}\n" * 50_000,
}
BOMB_SITES = ["run.json", "record.json", "manifest.json", "verdict.json", "ledger.jsonl", "track.toml"]
READ_BOMB = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
from pathlib import Path
from harness.errors import UserError
from harness.campaigns.ledger import read_ledger
from harness.records.manifest import read_manifest
from harness.records.record import read_record
from harness.formats.run import read_run
from harness.formats.track import load_track
from harness.records.verdict import read_verdict
folder = Path(sys.argv[1])
readers = {"run.json": read_run, "record.json": read_record, "manifest.json": read_manifest,
           "verdict.json": read_verdict, "ledger.jsonl": lambda f: read_ledger(f / "ledger.jsonl"),
           "track.toml": lambda f: load_track(str(f / "track.toml"))}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for bomb in sorted(folder.iterdir()):
    for name, read in readers.items():
        (folder / bomb.name / name).exists() or (folder / bomb.name / name).write_bytes((bomb / "bomb").read_bytes())
        try:
            read(folder / bomb.name)
        except UserError as error:
            assert len(str(error)) < 2000, (bomb.name, name, len(str(error)))
        (folder / bomb.name / name).unlink()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown // 1024)
"""


def test_bombs_are_refused_in_bounded_memory(tmp_path: Path) -> None:
    for name, content in BOMBS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "bomb").write_bytes(content)
    command = [sys.executable, "-c", READ_BOMB, str(tmp_path)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # on many cores their stacks alone are large
    done = subprocess.run(command, cwd=ROOT, env=os.environ | one_thread, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) < 2000, f"{done.stdout} MiB for files of 8 MiB at most"


@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "socket", "nothing"])
def test_what_is_no_plain_file_is_a_sentence(tmp_path: Path, kind: str) -> None:
    """A pipe that never ends must not be waited for; a link must not be followed."""
    make = {
        "folder": Path.mkdir,
        "fifo": os.mkfifo,
        "link": lambda path: path.symlink_to("/dev/zero"),
        "socket": lambda path: os.mknod(path, 0o140600),
        "nothing": lambda path: None,
    }[kind]
    for name in BOMB_SITES:
        (tmp_path / name).mkdir()
        make(tmp_path / name / name)
    for name, read in {"run.json": read_run, "record.json": read_record, "manifest.json": read_manifest,
                       "verdict.json": read_verdict}.items():  # fmt: skip
        with pytest.raises(UserError) as raised:
            read(tmp_path / name)
        assert_a_sentence(str(raised.value))
    with pytest.raises(UserError):
        read_ledger(tmp_path / "ledger.jsonl" / "ledger.jsonl")
    if kind != "link" and kind != "fifo":
        with pytest.raises(UserError):
            load_track(str(tmp_path / "track.toml" / "track.toml"))

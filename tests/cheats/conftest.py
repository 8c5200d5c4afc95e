"""Runs exhibits, each in a world of its own, and falsifies evidence at a desk of its own."""

import base64
import json
import re
import shutil
import socketserver
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.shards import read_shard
from harness.records.submitting import Claims, draft, write
from tests.cheats.museum import HERE, Exhibit

# What every exhibit's track says unless the exhibit does: time for a machine that does other things too, and so many
# pairs of probes that who cheats on a quarter of all windows escapes once in 10^8 runs (of the track's eight: in ten).
# The text is always the same, as on most tracks; exhibits of languages say `dataset = "embedded-tiny"`.
TRACK = {"prepare_s": 600, "score_s": 600, "probe_pairs": 64, "dataset": '"tales"'}
ROOT = HERE.parent.parent
TARGET = 3.0  # nats: a table of pairs, honestly counted, has 2.45; one of single tokens 4.8; a guess 5.8
Play = Callable[[Exhibit, str], Any]


@pytest.fixture(scope="session")
def contraband(data_root: Path) -> Iterator[dict[str, str]]:
    """What a cheat would bring along, as text for its source: too long to be read, so exhibits hold its name."""
    folder = data_root / "embedded-tiny"
    tokens = np.asarray(read_shard(next(folder.glob("*_train_000001.bin"))))[:100_000].astype(np.int64)
    counts = np.bincount(tokens[:-1] * 325 + tokens[1:], minlength=325**2)
    table = (np.log2(counts + 1) * 8).astype(np.uint8)
    validation = np.asarray(read_shard(next(folder.glob("*_val_*.bin"))))[:20_001].astype("<u2")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Neighbour) as server:
        server.daemon_threads = True
        server.table = table.tobytes()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {
            "@bigram table@": base64.b85encode(zlib.compress(table.tobytes(), 9)).decode(),
            "@validation tokens@": base64.b85encode(zlib.compress(validation.tobytes(), 9)).decode(),
            "@the public grammar@": base64.b85encode(zlib.compress(json.dumps(grammar()).encode(), 9)).decode(),
            "@port of a neighbour@": str(server.server_address[1]),
        }
        server.shutdown()


def grammar() -> dict[str, str]:
    """The modules of the embedded corpus and what deciphers its languages, by the names they have in a submission."""
    modules = {f"corpus/{path.name}": path.read_text() for path in (ROOT / "data" / "corpus").glob("*.py")}
    return modules | {"cipher.py": (ROOT / "benchmarks" / "decipher" / "cipher.py").read_text()}


class Neighbour(socketserver.BaseRequestHandler):
    """A server elsewhere that has what the cheat wants."""

    def handle(self) -> None:
        self.request.sendall(self.server.table)  # type: ignore[attr-defined]


def own_referee(folder: Path) -> Path:
    """A copy of our packages, for exhibits that write to them."""
    for package in ("data", "harness", "leaderboard"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@dataclass(slots=True)
class Desk:
    """Where evidence is falsified: a contest of its own, invented campaigns, keys, and the real submit."""

    folder: Path
    contest: Path  # the track's folder, where records are
    make_bundle: Callable[..., Path]

    def bundle(self, name: str, **what: Any) -> Path:
        """A campaign that nobody ran, as tests/bundles.py makes them."""
        return self.make_bundle(self.folder / name, track=self.contest / "track.toml", **what)

    def record(self, bundle: Path, title: str = "First", key: Path | None = None, **claims: Any) -> Path:
        """A bundle that was honestly submitted."""
        drafted = draft(bundle, Claims(title=title, authors=("Ada",), date=date(2026, 1, 3), **claims), key)
        write(drafted, key)
        return drafted.folder

    def key(self, name: str) -> Path:
        """A private key; its public half lies beside it."""
        path = self.folder / name
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
        subprocess.run(command, check=True, timeout=600)
        return path

    def rules(self, **changes: object) -> None:
        """Another number in the track's rules."""
        path = self.contest / "track.toml"
        text = path.read_text()
        for key, value in changes.items():
            text, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
            assert count == 1, key
        path.write_text(text)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_bundle: Callable[..., Path]) -> Desk:
    contest = tmp_path / "records" / "tiny"
    contest.mkdir(parents=True)
    shutil.copy(HERE.parent / "tracks" / "tiny" / "track.toml", contest)
    monkeypatch.setenv("SPEEDRUN_RECORDS", str(contest.parent))
    monkeypatch.setenv("SPEEDRUN_CACHE", str(tmp_path / "cache"))
    return Desk(tmp_path, contest, make_bundle)


@pytest.fixture(scope="session")
def play(
    tmp_path_factory: pytest.TempPathFactory,
    make_speedrun: Callable[[], Any],
    write_track: Callable[..., Path],
    contraband: dict[str, str],
) -> Play:
    """play(exhibit, level): runs it and gives the outcomes of its runs."""

    def start(exhibit: Exhibit, level: str) -> Any:
        folder, world = tmp_path_factory.mktemp("exhibit"), make_speedrun()
        source = exhibit.path.read_text()
        data = world.data / "tales"
        root = ROOT if "@referee's files@" not in source else own_referee(folder / "referee")
        for name, content in (
            contraband | {"@data folder@": str(data.resolve()), "@referee's files@": str(root)}
        ).items():
            source = source.replace(name, content)
        stage: dict[str, Any] = {}
        if "\ndef before(" in source or "\ndef after(" in source:  # what the owner of the machine does around the run
            exec(compile(source, exhibit.path, "exec"), stage)
        script = folder / exhibit.path.name
        script.write_text(source)
        if "before" in stage:
            shared = data.resolve()
            data.unlink()
            shutil.copytree(shared, data)
            script = stage["before"](script, data)
        track = write_track(folder, **{**TRACK, "target_val_loss": TARGET, **exhibit.track})
        command = [sys.executable, "-m", "harness", "run", script, "--track", track, "--nproc", str(exhibit.ranks)]
        command += ["--require-sandbox", level, *exhibit.arguments]
        outcomes: list[Any] = []
        for _ in range(exhibit.runs):
            outcomes.append(world.end(world.start(*command, cwd=root, **exhibit.environment)))
            assert world.leftovers() == []
        stage.get("after", bool)()
        return outcomes

    return start

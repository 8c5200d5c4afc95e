"""Downloads end in verified bytes or in one clear sentence, whatever the Hub does and whenever they are killed."""

import hashlib
import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data import datasets, lockfile
from tests.data.conftest import ROOT, SHARD_TOKENS, Command, make_shards
from tests.data.hub.loopback_hub import Fault, LoopbackHub

SHARD_BYTES = 1024 + 2 * SHARD_TOKENS


def published(hub: LoopbackHub) -> dict[str, bytes]:
    return hub.commits[hub.main]


def on_disk(command: Command) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (command.root / "tiny").glob("*.bin")}


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The error: one line, with exit code 2 and no traceback."""
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("speedrun: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "expected" in lines[0] and "found" in lines[0]
    return lines[0]


def test_the_loopback_hub_speaks_what_huggingface_hub_expects(hub: LoopbackHub, tmp_path: Path) -> None:
    program = (
        "from huggingface_hub import hf_hub_download; print(hf_hub_download("
        f"{hub.repository!r}, 'tiny_val_000000.bin', repo_type='dataset', local_dir={str(tmp_path / 'x')!r}))"
    )
    env = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == published(hub)["tiny_val_000000.bin"]


def test_download_brings_everything_and_a_second_one_brings_nothing(hub: LoopbackHub, fetching: Command) -> None:
    first = json.loads(fetching("download", "tiny", "--json").stdout)
    assert on_disk(fetching) == published(hub)
    assert first["sha256"] == {name: hashlib.sha256(content).hexdigest() for name, content in published(hub).items()}
    assert (first["revision"], first["fetched_bytes"]) == (hub.main, 4 * SHARD_BYTES)
    hub.requests.clear()
    second = json.loads(fetching("download", "tiny", "--json").stdout)
    assert (second["fetched"], second["sha256"]) == ([], first["sha256"])
    assert hub.asked("/resolve/") == []


@pytest.mark.parametrize(
    ("options", "shards"),
    [
        (["--tokens", "1"], 1),
        (["--tokens", f"{SHARD_TOKENS}"], 1),
        (["--tokens", "0.3M"], 2),
        (["--shards", "3"], 3),
    ],
)
def test_download_brings_just_what_is_asked_for(
    hub: LoopbackHub, fetching: Command, options: list[str], shards: int
) -> None:
    assert fetching("download", "tiny", *options).returncode == 0
    wanted = {"tiny_val_000000.bin", *(f"tiny_train_{index:06d}.bin" for index in range(1, shards + 1))}
    assert on_disk(fetching) == {name: published(hub)[name] for name in wanted}


def test_download_for_a_track_reads_its_number_of_shards(hub: LoopbackHub, fetching: Command, tmp_path: Path) -> None:
    track = tmp_path / "track.toml"
    text = (ROOT / "tests" / "tracks" / "tiny" / "track.toml").read_text()
    track.write_text(text.replace('"embedded-tiny"', '"tiny"\ntrain_shards = 2'))
    assert fetching("download", "tiny", "--for-track", track).returncode == 0
    assert set(on_disk(fetching)) == {"tiny_val_000000.bin", "tiny_train_000001.bin", "tiny_train_000002.bin"}
    assert fetching("verify", "--for-track", track).returncode == 0


def test_more_tokens_than_there_are_is_refused(fetching: Command) -> None:
    assert "at most 600,000 training tokens, found 1,000,000" in sentence(
        fetching("download", "tiny", "--tokens", "1M")
    )


FAULTS = {
    "cut off in the middle": [Fault("cut", "/cdn/", times=6)],
    "busy metadata": [Fault("status", "/api/", times=2, status=503)],
    "busy files": [Fault("status", "/resolve/", times=3, status=429), Fault("status", "/cdn/", times=3, status=503)],
    "wrong bytes of the right length": [Fault("flip", "tiny_train_000002", times=3)],
    "too short, then a fault of ranges": [Fault("short", "/cdn/", times=2)],
    "the same file too short again": [Fault("short", "tiny_val", times=4)],  # of two requests each: /resolve/, /cdn/
    "too long": [Fault("long", "tiny_train_000001", times=1)],
    "ranges ignored": [Fault("cut", "/cdn/", times=2), Fault("no_range", "/cdn/", times=6)],
    "wrong ranges": [Fault("cut", "tiny_val", times=1), Fault("wrong_range", "tiny_val", times=2)],
    "silence": [Fault("stall", "tiny_val", times=1)],
    "a login page": [Fault("nonsense", "/api/", times=1)],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_what_passes_ends_in_verified_bytes(hub: LoopbackHub, fetching: Command, faults: list[Fault]) -> None:
    hub.faults = [Fault(f.kind, f.where, f.times, f.status, f.retry_after) for f in faults]
    if faults[0].kind == "flip":
        hub.faults[0].times = 2
    done = fetching("download", "tiny", **({"HF_HUB_DOWNLOAD_TIMEOUT": "1"} if faults[0].kind == "stall" else {}))
    assert done.returncode == 0, done.stderr
    assert on_disk(fetching) == published(hub)
    assert hub.faults[0].times == 0, "the fault was met"
    assert not list((fetching.root / "tiny").glob("*.part"))
    assert not list((fetching.root / "tiny").glob(".*.part"))


def test_a_slow_hub_is_waited_for(hub: LoopbackHub, fetching: Command) -> None:
    hub.bytes_per_s = 200_000
    assert fetching("download", "tiny", "--shards", "1").returncode == 0
    assert on_disk(fetching)["tiny_train_000001.bin"] == published(hub)["tiny_train_000001.bin"]


PERMANENT = {
    "wrong bytes for ever": (
        [Fault("flip", "tiny_train_000001", times=99)],
        ["tiny_train_000001.bin: expected sha256", "found", "in the last of 3 downloads"],
    ),
    "cut before the first byte": (
        [Fault("status", "/cdn/", times=999)],
        ["tiny_", f"expected {SHARD_BYTES:,} bytes, found HTTP status 503", "5 attempts"],
    ),
    "too short for ever": (
        [Fault("short", "tiny_val", times=99)],
        ["tiny_val_000000.bin", "expected", "found"],
    ),
    "busy for ever": ([Fault("status", "/api/", times=99)], ["to describe maker/tiny-gpt2, found HTTP status 503"]),
    "forbidden": ([Fault("status", "/cdn/", times=99, status=403)], ["HTTP status 403"]),
}


@pytest.mark.parametrize(("faults", "expected"), PERMANENT.values(), ids=PERMANENT)
def test_what_does_not_pass_ends_in_one_sentence(
    hub: LoopbackHub, fetching: Command, faults: list[Fault], expected: list[str]
) -> None:
    hub.faults = [Fault(f.kind, f.where, f.times, f.status, f.retry_after) for f in faults]
    found = sentence(fetching("download", "tiny"))
    assert all(part in found for part in expected), found
    hub.faults = []
    assert fetching("download", "tiny").returncode == 0, "and a later attempt mends it"
    assert on_disk(fetching) == published(hub)


def test_a_file_the_repository_lacks_is_named(hub: LoopbackHub, fetching: Command) -> None:
    del published(hub)["tiny_train_000003.bin"]
    found = sentence(fetching("download", "tiny"))
    assert "tiny_train_000003.bin: expected a file with a SHA-256 in maker/tiny-gpt2@" in found
    assert on_disk(fetching) == {}


def test_a_missing_repository_and_a_missing_token_are_told(hub: LoopbackHub, fetching: Command) -> None:
    hub.token = "secret-of-the-test"
    assert "set HF_TOKEN" in sentence(fetching("download", "tiny"))
    assert fetching("download", "tiny", HF_TOKEN=hub.token).returncode == 0
    assert {request.authorization for request in hub.asked("/cdn/")} == {None}
    hub.token, hub.repository = None, "maker/elsewhere"
    (fetching.root / "tiny" / "tiny_val_000000.bin").unlink()
    assert "check the name" in sentence(fetching("download", "tiny"))


def test_nobody_there_is_one_sentence(fetching: Command) -> None:
    found = sentence(fetching("download", "tiny", HF_ENDPOINT="http://127.0.0.1:1"))
    assert "http://127.0.0.1:1" in found and "ConnectError" in found


def test_a_revision_that_moves_on_does_not_move_us(hub: LoopbackHub, fetching: Command, tmp_path: Path) -> None:
    first = hub.main
    assert fetching("download", "tiny", "--shards", "1").returncode == 0
    (tmp_path / "second").mkdir()
    hub.publish(make_shards(tmp_path / "second", seed=2), label="second")
    done = json.loads(fetching("download", "tiny", "--json").stdout)
    assert done["revision"] == first
    assert on_disk(fetching) == hub.commits[first]


def test_a_revision_that_is_gone_is_an_error(hub: LoopbackHub, fetching: Command) -> None:
    assert fetching("download", "tiny", "--shards", "1").returncode == 0
    hub.commits["0" * 40] = hub.commits.pop(hub.main)
    assert "found no such revision" in sentence(fetching("download", "tiny"))


def test_another_hash_under_the_same_revision_is_a_loud_error(hub: LoopbackHub, fetching: Command) -> None:
    assert fetching("download", "tiny").returncode == 0
    before = on_disk(fetching)
    hub.stated["tiny_train_000002.bin"] = "0" * 64
    found = sentence(fetching("download", "tiny"))
    assert "tiny_train_000002.bin: expected sha256" in found
    assert "pinned in" in found and f"the Hub now states {'0' * 64}" in found
    assert on_disk(fetching) == before


def test_a_hash_of_the_manifest_outranks_the_hub(hub: LoopbackHub, fetching: Command) -> None:
    manifest = fetching.root / "tiny" / "dataset.toml"
    manifest.write_text(manifest.read_text() + f'\n[sha256]\n"tiny_val_000000.bin" = "{"1" * 64}"\n')
    found = sentence(fetching("download", "tiny"))
    assert f"tiny_val_000000.bin: expected sha256 {'1' * 64} as the manifest" in found
    assert on_disk(fetching) == {}


def test_a_file_that_rots_is_named_set_aside_and_fetched_again(hub: LoopbackHub, fetching: Command) -> None:
    assert fetching("download", "tiny").returncode == 0
    path = fetching.root / "tiny" / "tiny_train_000002.bin"
    rotten = path.read_bytes()[:-2] + b"\0\0"
    path.write_bytes(rotten)
    refused = sentence(fetching("verify", "tiny"))
    assert f"{path}: expected sha256 (pinned in tiny.lock.json) " in refused
    assert hashlib.sha256(rotten).hexdigest() in refused
    assert "run `speedrun data download tiny`" in refused
    done = fetching("download", "tiny")
    assert done.returncode == 0
    assert "tiny_train_000002.bin: expected sha256" in done.stderr and "set aside as" in done.stderr
    assert on_disk(fetching) == published(hub)
    assert path.with_name("tiny_train_000002.bin.corrupt").read_bytes() == rotten
    assert fetching("verify", "tiny").returncode == 0


def test_files_that_were_there_before_count_when_they_are_right(hub: LoopbackHub, fetching: Command) -> None:
    """As upstream's own downloader leaves them; one of them is broken, and was pinned by a verify before."""
    for name, content in published(hub).items():
        (fetching.root / "tiny" / name).write_bytes(content if "000003" not in name else content[:-1] + b"\xff")
    assert fetching("verify", "tiny").returncode == 0
    pins = lockfile.read_lock(fetching.root, "tiny").files
    assert {pin.origin for pin in pins.values()} == {"disk"}
    done = json.loads(fetching("download", "tiny", "--json").stdout)
    assert done["fetched"] == ["tiny_train_000003.bin"]
    assert {pin.origin for pin in lockfile.read_lock(fetching.root, "tiny").files.values()} == {"hub"}
    assert on_disk(fetching) == published(hub)


def test_a_full_disk_is_found_before_the_first_byte(hub: LoopbackHub, fetching: Command) -> None:
    hub.stated_bytes["tiny_train_000002.bin"] = 2**47
    found = sentence(fetching("download", "tiny"))
    assert "GB of free disk space, found" in found
    assert hub.asked("/resolve/") == []


def test_offline_verifies_what_is_here_and_asks_nobody(hub: LoopbackHub, fetching: Command) -> None:
    assert "offline mode" in sentence(fetching("download", "tiny", "--offline"))
    assert hub.requests == []
    assert fetching("download", "tiny", "--shards", "2").returncode == 0
    hub.requests.clear()
    assert fetching("download", "tiny", "--offline", "--tokens", "400k").returncode == 0
    assert fetching("download", "tiny", "--shards", "2", HF_HUB_OFFLINE="1").returncode == 0
    assert "tiny_train_000003.bin: expected a shard" in sentence(fetching("download", "tiny", HF_HUB_OFFLINE="1"))
    assert hub.requests == []


def test_two_downloads_at_once_fetch_every_file_once(hub: LoopbackHub, fetching: Command) -> None:
    hub.bytes_per_s = 1_000_000
    processes = [fetching.start("download", "tiny", "--json") for _ in range(2)]
    outcomes = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outcomes
    assert on_disk(fetching) == published(hub)
    fetched = sorted(name for stdout, _ in outcomes for name in json.loads(stdout)["fetched"])
    assert fetched == sorted(published(hub))
    assert len([request for request in hub.asked("/cdn/") if request.method == "GET"]) == 4


def test_a_killed_download_goes_on_where_it_stopped(
    hub: LoopbackHub, fetching: Command, until: Callable[..., Any]
) -> None:
    process, part = begin_and_stall(hub, fetching, until)
    process.kill()
    process.communicate(timeout=600)
    kept = part.stat().st_size
    assert 0 < kept < SHARD_BYTES
    hub.faults = []
    hub.requests.clear()
    assert fetching("download", "tiny", "--jobs", "1").returncode == 0
    assert hub.asked("/cdn/")[0].range == f"bytes={kept}-"
    assert on_disk(fetching) == published(hub)


def test_a_part_that_rots_is_found_out(hub: LoopbackHub, fetching: Command, until: Callable[..., Any]) -> None:
    process, part = begin_and_stall(hub, fetching, until)
    process.kill()
    process.communicate(timeout=600)
    part.write_bytes(bytes(part.stat().st_size))
    hub.faults = []
    done = fetching("download", "tiny")
    assert done.returncode == 0
    assert "set aside as" in done.stderr
    assert on_disk(fetching) == published(hub)


def begin_and_stall(
    hub: LoopbackHub, command: Command, until: Callable[..., Any]
) -> tuple[subprocess.Popen[str], Path]:
    """A download that has got a part of its first file and gets no more, and the place of that part."""
    hub.faults = [Fault("stall", "/cdn/", times=99)]
    process = command.start("download", "tiny", "--jobs", "1", HF_HUB_DOWNLOAD_TIMEOUT="10")  # Ctrl-C waits for it

    def look() -> list[Path]:
        assert process.poll() is None, process.communicate()
        return [part for part in (command.root / "tiny").glob(".*.part") if part.stat().st_size]

    (part,) = until(look, "a part of the first file", 120)
    return process, part


def kill_and_finish(hub: LoopbackHub, command: Command, rng: random.Random) -> int:
    """One or two downloads killed at random points, then one to the end; returns the kills that hit."""
    hits = 0
    for _ in range(rng.randint(1, 2)):
        hub.bytes_per_s = 2_000_000
        process = command.start("download", "tiny", "--jobs", str(rng.choice([1, 2, 4])))
        target = hub.sent_bytes + rng.randint(1, 4 * SHARD_BYTES)
        deadline = time.monotonic() + rng.choice([0.3, 0.6, 0.9, 30, 30, 30])
        while hub.sent_bytes < target and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.001)
        process.kill()
        process.communicate(timeout=600)
        hits += process.returncode == -9
    hub.bytes_per_s = None
    done = command("download", "tiny")
    assert done.returncode == 0, done.stderr
    assert on_disk(command) == published(hub)
    leftovers = [
        path.name for path in (command.root / "tiny").iterdir() if path.suffix in (".part", ".tmp", ".corrupt")
    ]
    assert leftovers == []
    tiny = datasets.read_manifest(command.root / "tiny" / "dataset.toml")
    assert datasets.verify(tiny, command.root, afresh=True) == {
        name: hashlib.sha256(content).hexdigest() for name, content in published(hub).items()
    }
    return hits


def kill_many(hub: LoopbackHub, make_command: Callable[[str], Command], seed: int, kills: int) -> None:
    rng, hits = random.Random(seed), 0
    for round_ in range(10 * kills):
        hits += kill_and_finish(hub, make_command(f"round-{round_}"), rng)
        if hits >= kills:
            return
    raise AssertionError(f"expected {kills} kills that hit, found {hits}")


@pytest.mark.slow
def test_kills_at_random_points_end_in_the_same_bytes(hub: LoopbackHub, make_command: Callable[[str], Command]) -> None:
    kill_many(hub, make_command, seed=1, kills=8)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_kills_at_random_points_end_in_the_same_bytes(
    hub: LoopbackHub, make_command: Callable[[str], Command]
) -> None:
    kill_many(hub, make_command, seed=2, kills=50)


def test_a_disk_that_takes_no_more_is_one_sentence_and_what_came_is_kept(hub: LoopbackHub, fetching: Command) -> None:
    limited = ["sh", "-c", 'ulimit -f 300; exec "$0" "$@"', sys.executable, "-m", "harness", "data", "download", "tiny"]
    env = os.environ | {"SPEEDRUN_DATA": str(fetching.root)} | fetching.environment
    done = subprocess.run(limited, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert "bytes, found 'File too large'" in sentence(done)
    assert sum(part.stat().st_size for part in (fetching.root / "tiny").glob(".*.part")) > 0
    assert fetching("download", "tiny").returncode == 0
    assert on_disk(fetching) == published(hub)


def test_ctrl_c_ends_with_130_and_keeps_what_came(
    hub: LoopbackHub, fetching: Command, until: Callable[..., Any]
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what is ignored here would be ignored there
    try:
        process, _ = begin_and_stall(hub, fetching, until)
    finally:
        signal.signal(signal.SIGINT, before)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=600)
    assert (process.returncode, "Traceback" in stderr) == (130, False)
    assert "interrupted; the same command goes on from here" in stderr
    assert list((fetching.root / "tiny").glob(".*.part"))


def test_a_terminal_shows_rate_and_eta(hub: LoopbackHub, fetching: Command) -> None:
    hub.bytes_per_s = 400_000
    leader, follower = pty.openpty()
    env = os.environ | {"SPEEDRUN_DATA": str(fetching.root), "TERM": "xterm", "COLUMNS": "200"} | fetching.environment
    argv = [sys.executable, "-m", "harness", "data", "download", "tiny", "--shards", "1"]
    with subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=follower) as process:
        os.close(follower)
        shown = b""
        while block := read_terminal(leader):
            shown += block
    os.close(leader)
    assert process.returncode == 0
    assert b"fetching tiny" in shown and b"B/s" in shown and b"ETA" in shown


def read_terminal(leader: int) -> bytes:
    try:
        return os.read(leader, 2**16)
    except OSError:  # how Linux says that the other side has closed
        return b""


def test_what_is_not_of_the_hub_is_not_downloaded(command: Command) -> None:
    assert "use `speedrun data prepare`" in sentence(command("download", "embedded-tiny"))
    assert "use `speedrun data import`" in sentence(command("download", "tinyshakespeare"))


def test_the_fineweb_manifest_pins_a_commit() -> None:
    fineweb = datasets.load_dataset("fineweb10B")
    assert fineweb.revision is not None
    assert len(fineweb.revision) == 40
    assert fineweb.val_file in fineweb.sha256

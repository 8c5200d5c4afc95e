"""Data and its places as machines and users leave them: complete data needs nothing; all else is one sentence."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from data import datasets, digests, files, shards
from data.errors import DataError, UserError
from data.hub import client, download
from data.tokenize import batches, encoders, importing
from data.tokenize.batches import MalformedError
from data.tokenize.order import expect_name

TINY = datasets.load_dataset("embedded-tiny")


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system", "/a/b")


def test_complete_data_needs_no_lock_and_no_writing(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(data_root / TINY.name, tmp_path / TINY.name)
    (tmp_path / TINY.name / ".verified.json").unlink(missing_ok=True)
    for module, name in ((Path, "mkdir"), (datasets, "locked"), (digests, "replace_file")):
        monkeypatch.setattr(module, name, refuse)
    datasets.prepare(TINY, tmp_path)
    (shard, *_) = (tmp_path / TINY.name).glob("*train*.bin")
    shard.write_bytes(shard.read_bytes()[:-2])  # now something must be built
    with pytest.raises(DataError, match=r"expected to build embedded-tiny there, found 'Read-only.*SPEEDRUN_DATA"):
        datasets.prepare(TINY, tmp_path)


@pytest.mark.parametrize("root", ["/proc/x", "/dev/null/x"])
def test_a_place_for_data_that_is_none_is_one_sentence(root: str) -> None:
    with pytest.raises(DataError, match="expected to build embedded-tiny there"):
        datasets.prepare(TINY, Path(root))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fsync(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    files.replace_file(tmp_path / "x", [b"whole"])
    assert (tmp_path / "x").read_bytes() == b"whole"
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Read-only"):
        files.replace_file(tmp_path / "x", [b"other"])
    assert (tmp_path / "x").read_bytes() == b"whole"


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for place in (Path("/proc/x.svg"), tmp_path / "nowhere" / "x.svg", Path("/dev/null/x.svg")):
        with pytest.raises(UserError, match=f"can be written at {place}"):
            files.write_output(place, [b"x"])


@pytest.mark.parametrize("name", ["tiny.stories", "a b", "-x", "embedded", "ä"])
def test_a_name_is_checked_before_hours_of_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="choose another"):
        expect_name(tmp_path / name)
    expect_name(tmp_path / "tiny-stories_2")


@pytest.mark.parametrize("character", [" ", "\t", "\n", "a"])
def test_a_million_equal_characters_are_named_with_their_document(
    character: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it can be dropped; never a traceback, never blamed on memory, as tiktoken's regular expression ends."""

    def give_up(texts: list[str], **_: object) -> None:
        if any(len(text) > 1_000_000 for text in texts):
            raise ValueError("Error executing regex: Max stack size exceeded for backtracking")

    monkeypatch.setattr(encoders.gpt2, "encode_texts", give_up)
    long = ("A fox." + character * 1_000_000 + "A hen.").encode()
    batch = batches.Batch(start=batches.Position(), payload=b"A cow." + long, lengths=(6, len(long)))
    with pytest.raises(MalformedError) as raised:
        encoders.encode_batch(batch)
    assert raised.value.index == 1
    assert f"1,000,000 times {character!r} in a row" in raised.value.found


def test_special_files_are_no_shards(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.bin")
    for path in (tmp_path / "fifo.bin", Path("/dev/zero"), tmp_path):
        with pytest.raises(DataError, match=r"expected a (readable )?shard"):
            shards.read_header(path)


@pytest.mark.parametrize("line", [b'{"text": "x", "n": ' + b"9" * 6000 + b"}", b"[" * 200_000, b'{"text": 5}', b"\xff"])
def test_json_that_python_cannot_hold_is_malformed(line: bytes) -> None:
    with pytest.raises(MalformedError):
        batches._parse(0, line)


def test_a_memory_of_digests_that_is_nonsense_is_measured_again(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    for nonsense in (b"[" * 200_000, b"\xff", b"9" * 6000, b'{"x.bin": []}'):
        (tmp_path / ".verified.json").write_bytes(nonsense)
        assert digests.measure([tmp_path / "x.bin"])["x.bin"].startswith("2d711642")


def test_an_import_that_was_killed_is_taken_up(tmp_path: Path) -> None:
    names = ["x_val_000000.bin", "x_train_000001.bin"]
    (tmp_path / names[0]).touch()
    (tmp_path / f".{names[1]}.abc.tmp").touch()
    assert importing._is_left_half(tmp_path, names)
    (tmp_path / "mine.txt").touch()
    assert not importing._is_left_half(tmp_path, names)


# ------------------------------------------------------------------------------------------------------- the Hub


@pytest.mark.parametrize(
    ("name", "size", "sha256"),
    [
        ("x", None, "0" * 64), ("x", -1, "0" * 64), ("x", 5.5, "0" * 64), ("x", "5", "0" * 64), ("x", True, "0" * 64),
        ("x", 10**30, "0" * 64), ("x", 5, None), ("x", 5, "A" * 64), ("x", 5, "x"), ("x", 5, "0" * 63),
        (None, 5, "0" * 64),
        ("x", float("nan"), "0" * 64), ("x", 5, "/../.."),
    ],
)  # fmt: skip
def test_what_no_file_can_be_is_no_answer_of_the_hub(name: object, size: object, sha256: object) -> None:
    with pytest.raises(ValueError, match="no "):
        client._remote_file(name, size, sha256)


@pytest.mark.parametrize("value", ["\xb2", "9" * 5000, "-1", "1.5", "soon", "", "٣"])
def test_headers_that_only_look_like_numbers(value: str) -> None:
    assert client._seconds(value) is None

    answer = client.httpx.Response(206, headers={"Content-Range": f"bytes {value}-9/9".encode()})
    assert client._start_of(answer) == -1


def test_redirects_without_an_end_and_the_network_may_pass() -> None:
    for error in (client.httpx.TooManyRedirects("x"), client.httpx.ReadTimeout("x"), client.httpx.ProxyError("x")):
        with pytest.raises(client.TransientError), client._translated("a/b", "main"):
            raise error


@pytest.mark.parametrize(
    "error", [lambda: client.httpx.LocalProtocolError("Illegal header value"), lambda: client.httpx.InvalidURL("x"),
              lambda: client.httpx.UnsupportedProtocol("x"), lambda: UnicodeEncodeError("ascii", "ä", 0, 1, "x")],
)  # fmt: skip
def test_a_token_or_an_address_that_cannot_be_sent_is_ours_to_mend(error: Any) -> None:
    with pytest.raises(DataError, match="HF_TOKEN"), client._translated("a/b", "main"):
        raise error()


@pytest.mark.parametrize(
    "error", [ValueError("Unknown scheme for proxy URL"), ImportError("Using SOCKS proxy, but the 'socksio' package"),
              FileNotFoundError(2, "No such file or directory")],
)  # fmt: skip
def test_a_proxy_or_certificates_that_cannot_be_used_are_named(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(client, "get_session", fail)
    with pytest.raises(DataError, match="SSL_CERT_FILE"):
        client._session()


def test_an_error_of_the_download_is_not_blamed_on_the_folder(tmp_path: Path) -> None:
    class Watcher:
        def say(self, _: str) -> None: ...

    with pytest.raises(OSError, match="the network"), download._held(TINY, tmp_path, Watcher()):  # type: ignore[arg-type]
        raise OSError(errno.ENETDOWN, "the network")


def test_a_size_that_was_stated_once_and_was_wrong_poisons_nothing(hub: Any, fetching: Any) -> None:
    """A pin is written with the verified bytes, not with what was said of them."""
    hub.stated_bytes["tiny_val_000000.bin"] = 0
    assert fetching("download", "tiny").returncode == 2
    hub.stated_bytes.clear()
    done = fetching("download", "tiny")
    assert done.returncode == 0, done.stderr
    assert (fetching.root / "tiny.lock.json").exists()

"""Framing: any split of the bytes gives the same messages; nothing a rank sends does more than end the run."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import MAX_SENTENCE
from harness.errors import RunFailure
from harness.formats.messages import Log, parse
from harness.referee.connection import READ_BYTES, Connection
from harness.sandbox.inside import HEADER, MAX_MESSAGE_BYTES, Channel, encode
from harness.status import Status

MESSAGES = st.one_of(
    st.fixed_dictionaries({"kind": st.sampled_from(["go", "stop", "returned"])}),
    st.fixed_dictionaries({"kind": st.just("hello"), "rank": st.integers(0, 2**61)}),
    st.fixed_dictionaries(
        {
            "kind": st.just("log"),
            "step": st.integers(-(2**61), 2**61),
            "train_loss": st.none() | st.floats(allow_nan=False),
            "tokens": st.none() | st.integers(0, 2**61),
        }
    ),
    st.fixed_dictionaries(
        {"kind": st.just("failed"), "reason": st.just("exception"), "error": st.text("aä€😀\n\0", max_size=300)}
    ),
)


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        connection = Connection(ours)
        yield connection, theirs
        connection.close()


def plain(message: Any) -> dict[str, Any]:
    return dict(message.model_dump(exclude_unset=True))


@settings(max_examples=60)
@given(messages=st.lists(MESSAGES, max_size=12), cuts=st.lists(st.integers(0, 4000), max_size=12))
def test_any_split_of_the_stream_gives_the_same_messages(messages: list[dict[str, Any]], cuts: list[int]) -> None:
    stream = b"".join(encode(message) for message in messages)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    ours, theirs = socket.socketpair()
    connection, received = Connection(ours), []
    with theirs:
        for start, end in pairwise(edges):
            theirs.sendall(stream[start:end])
            received += [plain(message) for message in connection.receive()]
            assert list(connection.receive()) == []  # and it never waits
    assert connection.is_open
    assert list(connection.receive()) == []
    assert not connection.is_open
    connection.close()
    assert received == messages


@settings(max_examples=30)
@given(message=MESSAGES, payload=st.binary(max_size=300), cut=st.integers(1, 500))
def test_the_ranks_own_end_of_the_channel_agrees(message: dict[str, Any], payload: bytes, cut: int) -> None:
    frame = encode(message, payload)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(frame[:cut])
        theirs.sendall(frame[cut:])
        assert Channel(ours).receive() == (message, payload, [])


def frame(body: bytes) -> bytes:
    return HEADER.pack(len(body), 0) + body


DEEP = b'{"kind":"go","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
NONSENSE = {
    "oversized": HEADER.pack(MAX_MESSAGE_BYTES + 1, 0),
    "with a payload": HEADER.pack(13, 1),
    "no JSON": frame(b"nonsense"),
    "empty": frame(b""),
    "a list": frame(b"[]"),
    "NUL bytes": bytes(64),
    "bad UTF-8": frame(b'{"kind":"\xff"}'),
    "lone surrogate": frame(rb'{"kind":"failed","reason":"exception","error":"\ud800"}'),
    "deeply nested": frame(DEEP),
    "unknown kind": frame(b'{"kind":"win"}'),
    "unknown key": frame(b'{"kind":"go","now":true}'),
    "no kind": frame(b'{"rank":0}'),
    "negative rank": frame(b'{"kind":"hello","rank":-1}'),
    "rank of text": frame(b'{"kind":"hello","rank":"0"}'),
    "rank of true": frame(b'{"kind":"hello","rank":true}'),
    "a step no display can show": frame(b'{"kind":"log","step":' + b"9" * 400 + b"}"),
    "a step no parser can read": frame(b'{"kind":"log","step":' + b"9" * 5000 + b"}"),
    "an endless error": frame(json.dumps({"kind": "failed", "reason": "exception", "error": "x" * 4001}).encode()),
    "too many dimensions": frame(
        json.dumps({"kind": "reserve", "weights": [{"name": "w", "dtype": "int8", "shape": [1] * 17}]}).encode()
    ),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_ends_the_run_in_one_sentence(pair: tuple[Connection, socket.socket], name: str) -> None:
    connection, theirs = pair
    theirs.setblocking(False)

    def read_on() -> None:
        rest = memoryview(NONSENSE[name])
        while connection.is_open:
            with suppress(BlockingIOError):
                rest = rest[theirs.send(rest) :] if rest else rest
            list(connection.receive())

    with pytest.raises(RunFailure) as raised:
        read_on()
    assert raised.value.status == Status.PROTOCOL_BROKEN
    assert raised.value.sentence.isprintable()
    assert len(raised.value.sentence) <= MAX_SENTENCE


def test_a_flood_is_read_in_bounded_bites(pair: tuple[Connection, socket.socket]) -> None:
    """One look takes at most READ_BYTES, whole messages do not pile up, and half a message is all that is kept."""
    connection, theirs = pair
    theirs.setblocking(False)
    bite = encode({"kind": "log", "step": 1}) * 5000
    sent, seen = 0, 0
    for _ in range(200):
        with suppress(BlockingIOError):
            sent += theirs.send(bite[sent % len(bite) :])
        messages = sum(1 for _ in connection.receive())
        seen += messages
        assert messages <= READ_BYTES // len(encode({"kind": "go"})) + 1
        assert len(connection._inbox) < 100
    assert seen > 1000


def test_a_rank_that_does_not_listen_cannot_hold_the_referee(pair: tuple[Connection, socket.socket]) -> None:
    connection, _ = pair

    def go_on() -> None:
        for _ in range(100_000):
            connection.send({"kind": "memory"})

    with pytest.raises(RunFailure, match="does not read") as raised:
        go_on()
    assert raised.value.status == Status.PROTOCOL_BROKEN


def test_a_rank_that_is_gone_hears_nothing(pair: tuple[Connection, socket.socket]) -> None:
    connection, theirs = pair
    theirs.close()
    connection.send({"kind": "go"})
    assert list(connection.receive()) == []
    assert not connection.is_open


def test_descriptors_a_rank_sends_are_not_kept(pair: tuple[Connection, socket.socket], descriptors: Any) -> None:
    connection, theirs = pair
    before = descriptors()
    socket.send_fds(theirs, [encode({"kind": "go"})], [theirs.fileno()] * 100)
    assert [message.kind for message in connection.receive()] == ["go"]
    assert descriptors() - before == set()


@settings(max_examples=300)
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
            st.sampled_from(["kind", "rank", "step", "weights", "name", "dtype", "shape", "error", "reason", "x"]),
            inner | st.sampled_from(["go", "log", "reserve", "hello", "failed", "snapshot"]), max_size=5,
        ),
    ).map(lambda value: json.dumps(value).encode())
)  # fmt: skip
def test_parse_raises_nothing_but_value_error(body: bytes) -> None:
    try:
        message = parse(body)
    except ValueError:
        pass
    else:
        assert json.loads(body)["kind"] == message.kind


@pytest.mark.parametrize("loss", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_train_loss_may_be_anything(loss: str) -> None:
    message = parse(b'{"kind":"log","step":1,"train_loss":%s}' % loss.encode())
    assert isinstance(message, Log)


@given(st.text())
def test_every_failure_is_one_printable_line(text: str) -> None:
    failure = RunFailure(Status.TRAIN_FAILED, text)
    assert failure.sentence == str(failure)
    assert failure.sentence.isprintable()
    assert len(failure.sentence) <= MAX_SENTENCE
    failure.sentence.encode()


def test_who_failed_lives_until_the_referee_hangs_up() -> None:
    """Its end would be that of all it has started, before anybody has seen which limit they passed."""
    ours, theirs = socket.socketpair()

    def fail() -> None:
        with pytest.raises(EOFError):
            Channel(theirs).fail("exception", "BlockingIOError: no more forks")

    rank = threading.Thread(target=fail)
    rank.start()
    message, _, _ = Channel(ours).receive()
    assert message == {"kind": "failed", "reason": "exception", "error": "BlockingIOError: no more forks"}
    rank.join(0.2)
    assert rank.is_alive()
    ours.close()
    rank.join(60)
    assert not rank.is_alive()
    theirs.close()

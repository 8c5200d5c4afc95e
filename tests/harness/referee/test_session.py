"""The rules of a run, fed with every order of events."""

from collections.abc import Callable, Iterator
from itertools import product

import pytest

from harness.errors import RunFailure
from harness.formats.messages import Failed, TensorShape
from harness.formats.weights import WeightBuffer, plan
from harness.referee.session import Phase, Session
from harness.status import Status

EVENTS = ("hello", "reserve", "go", "stop", "returned", "failed", "died")


def buffer(rank: int, name: str = "w", numbers: int = 2) -> WeightBuffer:
    return plan(rank, [TensorShape(name=f"{name}{rank}", dtype="float32", shape=[numbers])])


def feed(session: Session, rank: int, event: str) -> None:
    """One event as the referee passes it on (it knows a rank only after its hello)."""
    actions: dict[str, Callable[[], object]] = {
        "hello": lambda: session.hello(rank),
        "reserve": lambda: session.reserve(rank, buffer(rank)),
        "go": lambda: session.go(rank),
        "stop": lambda: (session.stop(rank), session.sealed(rank)),
        "returned": lambda: throw(session.returned(rank)),
        "failed": lambda: throw(session.failed(rank, Failed(kind="failed", reason="exception", error="oh"))),
        "died": lambda: throw(session.died(rank)),
    }
    actions[event]()


def throw(failure: RunFailure) -> None:
    raise failure


def expected(done: list[tuple[int, str]], rank: int, event: str, ranks: int) -> Status | None:
    """The status an event must lead to, told from the history alone; None: the run goes on."""
    mine = [e for r, e in done if r == rank]
    in_train = sum(e == "go" for _, e in done) == ranks
    match event:
        case "hello":
            return Status.PROTOCOL_BROKEN if mine else None
        case "reserve":
            return Status.PROTOCOL_BROKEN if "reserve" in mine else None
        case "go" if "go" in mine:
            return Status.GO_CALLED_TWICE
        case "go":
            return None if "reserve" in mine else Status.PROTOCOL_BROKEN
        case "stop" if not in_train:
            return Status.PROTOCOL_BROKEN
        case "stop":
            return Status.STOP_CALLED_TWICE if "stop" in mine else None
        case "returned":
            return Status.STOP_NOT_CALLED if in_train else Status.GO_NOT_CALLED
        case "failed":
            return Status.TRAIN_FAILED if in_train else Status.PREPARE_FAILED
        case _:
            return Status.RANK_DIED


def walk(ranks: int, history: list[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Depth first through every history of a run; checks each step, yields those that end in STOPPED."""
    for rank, event in product(range(ranks), EVENTS):
        if event != "hello" and (rank, "hello") not in history:
            continue  # the referee has no rank to name before
        session = Session(ranks, weights_bytes=1000)
        for past in history:
            feed(session, *past)
        status = expected(history, rank, event, ranks)
        if status is not None:
            with pytest.raises(RunFailure) as raised:
                feed(session, rank, event)
            assert raised.value.status == status, (history, rank, event)
            assert str(rank) in raised.value.sentence
            continue
        feed(session, rank, event)
        following = [*history, (rank, event)]
        if session.phase == Phase.STOPPED:
            yield following
        else:
            yield from walk(ranks, following)


@pytest.mark.parametrize("ranks", [1, 2])
def test_every_order_of_events(ranks: int) -> None:
    """STOPPED is reached by hello, reserve, go and stop of every rank, in an order that respects GO, and only so."""
    ends = list(walk(ranks, []))
    assert len(ends) == {1: 1, 2: 20 * 2}[ranks]  # 6!/(3!3!) ways to interleave up to GO, then who stops first
    for history in ends:
        assert sorted(history) == sorted(product(range(ranks), ("hello", "reserve", "go", "stop")))
        assert {event for _, event in history[-ranks:]} == {"stop"}


def ready(ranks: int = 2) -> Session:
    session = Session(ranks, weights_bytes=1000)
    for rank in range(ranks):
        session.hello(rank)
    return session


@pytest.mark.parametrize("rank", [2, 10**6])
def test_a_rank_out_of_range_is_refused(rank: int) -> None:
    with pytest.raises(RunFailure, match="ranks 0 to 1"):
        ready().hello(rank)


def test_nobody_joins_after_go() -> None:
    session = ready(1)
    session.reserve(0, buffer(0))
    assert session.go(0)
    with pytest.raises(RunFailure) as raised:
        session.hello(0)
    assert raised.value.status == Status.PROTOCOL_BROKEN


def test_the_budget_holds_for_one_rank_and_for_all_together() -> None:
    session = ready()
    with pytest.raises(RunFailure) as raised:
        session.reserve(0, buffer(0, numbers=251))
    assert raised.value.status == Status.WEIGHTS_TOO_BIG
    session = ready()
    for rank in range(2):
        session.reserve(rank, buffer(rank, numbers=150))
    assert not session.go(0)
    with pytest.raises(RunFailure, match="1,200 reserved") as raised:
        session.go(1)
    assert raised.value.status == Status.WEIGHTS_TOO_BIG


def test_a_name_twice_and_no_name_at_all() -> None:
    for name, message in (("same", "'same' reserved twice"), (None, "no rank reserved any")):
        session = ready()
        for rank in range(2):
            shapes = [] if name is None else [TensorShape(name=name, dtype="int8", shape=[])]
            session.reserve(rank, plan(rank, shapes))
        session.go(1)
        with pytest.raises(RunFailure, match=message) as raised:
            session.go(0)
        assert raised.value.status == Status.PROTOCOL_BROKEN
        assert session.phase == Phase.PREPARE  # no GO was given


@pytest.mark.parametrize(
    ("go", "stop", "status", "names"),
    [
        ([], [], Status.PREPARE_TIMEOUT, "from any rank"),
        ([0, 2], [], Status.PREPARE_TIMEOUT, "from rank 1"),
        ([1], [], Status.PREPARE_TIMEOUT, "from ranks 0, 2"),
        ([0, 1, 2], [], Status.TRAIN_TIMEOUT, "from any rank"),
        ([0, 1, 2], [0, 1], Status.TRAIN_TIMEOUT, "from rank 2"),
    ],
)
def test_a_spent_budget_names_the_ranks_it_waited_for(
    go: list[int], stop: list[int], status: Status, names: str
) -> None:
    session = ready(3)
    for rank in range(3):
        session.reserve(rank, buffer(rank))
    for rank in go:
        session.go(rank)
    for rank in stop:
        session.stop(rank)
        assert not session.sealed(rank)
    failure = session.timeout(2.5)
    assert failure.status == status
    assert failure.sentence.endswith(names)
    assert "2.5 s" in failure.sentence


@pytest.mark.parametrize("reason", ["prepare_failed", "no_train", "no_load", "weights_mismatch", "stop_called_twice"])
def test_a_reported_failure_has_its_status(reason: str) -> None:
    failure = ready().failed(1, Failed.model_validate({"kind": "failed", "reason": reason, "error": "why"}))
    assert failure.status == reason
    assert failure.sentence == "rank 1: why"

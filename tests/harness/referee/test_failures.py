"""What a submission can do wrong: a recorded run that names it, one sentence, an exit code, and nothing left behind.

Each case is a real command with real torchrun, gloo and sandbox, in a world of its own.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One misbehaviour and what must become of it."""

    name: str
    status: str
    code: int = 3
    says: str = ""  # a pattern in the sentence
    ranks: int = 1
    track: dict[str, object] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)  # of conftest's submission
    source: str | None = None  # instead of it


WAIT = "time.sleep(600)"
LINE_BREAKS = r"raise RuntimeError('first\nsecond \x1b[31mred\x1b[0m \udcff ' + 'long ' * 999)"
CASES = [
    # what can be told before anything runs
    Case(name="syntax error", status="syntax_error", says=r"submission\.py, line 1: ", source="def train(:\n"),
    Case(name="NUL byte", status="syntax_error", source="def train(run): pass\n\0"),
    Case(name="no train", status="no_train", says="train", source="def load(weights, device): pass\n"),
    Case(name="no load", status="no_load", says="load", source="def train(run): pass\n"),
    Case(name="no train when it counts", status="no_train",
         source="EVAL_TOKENS = EVAL_BATCH = 1\ndef load(w, d): pass\nif False:\n    def train(run): pass\n"),
    Case(name="source over budget", status="source_too_big", code=4, says="100 bytes", track={"source_bytes": 100}),
    # PREPARE
    Case(name="import error", status="prepare_failed", says="nothing_of_the_kind",
         parts={"top": "import nothing_of_the_kind"}),
    Case(name="no EVAL_TOKENS", status="prepare_failed", says="EVAL_TOKENS", parts={"top": "del EVAL_TOKENS"}),
    Case(name="exit at import", status="prepare_failed", says="SystemExit", parts={"top": "sys.exit(0)"}),
    Case(name="exception in PREPARE", status="prepare_failed", says="ZeroDivisionError", parts={"prepare": "1 / 0"}),
    Case(name="exception of many lines", status="prepare_failed", says="first second", parts={"prepare": LINE_BREAKS}),
    Case(name="over budget in PREPARE", status="prepare_timeout", code=4, says="more than 1 s",
         track={"prepare_s": 1}, parts={"prepare": WAIT}),
    Case(name="weights over budget", status="weights_too_big", code=4, says="1,000 bytes",
         track={"weights_bytes": 1000}),
    Case(name="weights beyond all bounds", status="weights_too_big", code=4,
         parts={"prepare": "weights['huge'] = torch.zeros(1).expand(2**40, 2**18)"}),
    Case(name="go never called", status="go_not_called", says="rank 0", parts={"prepare": "return"}),
    Case(name="go called by one rank only", status="go_not_called", ranks=2, says="rank 1",
         parts={"prepare": "if run.rank: run.reserve(weights); return"}),
    Case(name="go before reserve", status="protocol_broken", says="before reserve", parts={"prepare": "run.go()"}),
    Case(name="stop before go", status="protocol_broken", says="before go",
         parts={"prepare": "run.reserve(weights); run.stop(weights)"}),
    Case(name="reserve called twice", status="protocol_broken", says="twice",
         parts={"prepare": "run.reserve(weights)"}),
    Case(name="one weight from two ranks", status="protocol_broken", ranks=2, says="'table' reserved twice",
         parts={"prepare": "weights = {'table': torch.zeros(run.vocab_size)}"}),
    Case(name="no weights", status="protocol_broken", says="expected weights", parts={"prepare": "weights = {}"}),
    Case(name="weights of complex numbers", status="protocol_broken", says="complex64",
         parts={"prepare": "weights = {'z': torch.zeros(2, dtype=torch.complex64)}"}),
    Case(name="a stranger on the socket", status="protocol_broken", says="one more",
         parts={"prepare": "import socket\nfolder, name = os.path.split(os.environ['SPEEDRUN_SOCKET'])\n"
                           "os.chdir(folder)  # an address holds 107 bytes, a TMPDIR may be longer\n"
                           "for _ in range(2000): socket.socket(socket.AF_UNIX).connect(name)"}),
    Case(name="garbage on the socket", status="protocol_broken",
         parts={"prepare": "run._channel.sock.sendall(bytes(100)); " + WAIT}),
    # TRAIN
    Case(name="exception in TRAIN", status="train_failed", says="rank 0 raised in TRAIN: ValueError: no luck",
         parts={"train": "raise ValueError('no luck')"}),
    Case(name="one rank dies", status="rank_died", ranks=2, says="rank 1 died in TRAIN",
         parts={"train": f"if run.rank: os._exit(1)\n{WAIT}"}),
    Case(name="one rank is killed", status="rank_died", ranks=2, says="rank 1 died in PREPARE",
         parts={"prepare": "if run.rank: os.kill(os.getpid(), signal.SIGKILL)"}),
    Case(name="go called twice", status="go_called_twice", says="rank 0", parts={"train": "run.go()"}),
    Case(name="stop never called", status="stop_not_called", says="rank 0", parts={"train": "return"}),
    Case(name="stop called by one rank only", status="stop_not_called", ranks=2, says="rank 1",
         parts={"train": "if run.rank: return"}),
    Case(name="one rank never stops", status="train_timeout", code=4, ranks=2, says=r"from rank 1$",
         track={"train_s": 8}, parts={"train": f"if run.rank: {WAIT}"}),
    Case(name="stop called twice", status="stop_called_twice", ranks=2, says="rank 0",
         parts={"train": f"if run.rank: {WAIT}\nthreading.Thread(target=run.stop, args=(weights,)).start()"}),
    Case(name="over budget in TRAIN", status="train_timeout", code=4, says="more than 1 s",
         track={"train_s": 1}, parts={"train": WAIT}),
    Case(name="weights that stay writable", status="train_timeout", code=4, track={"train_s": 1},
         parts={"train": "import mmap\nkept = mmap.mmap(run._memory, 8)"}),
    Case(name="another shape", status="weights_mismatch", says=r"'shape': \[3\]",
         parts={"train": "weights['table'] = torch.zeros(3)"}),
    Case(name="another dtype", status="weights_mismatch", says="bfloat16",
         parts={"train": "weights['table'] = weights['table'].bfloat16()"}),
    Case(name="another name", status="weights_mismatch", says="'tab1e'",
         parts={"train": "weights = {'tab1e': weights['table']}"}),
    Case(name="a weight missing", status="weights_mismatch", says="table", parts={"train": "weights = {}"}),
    Case(name="NaN weights", status="weights_not_finite", says="'table'",
         parts={"train": "weights['table'][-1] = float('nan')"}),
    # SCORE
    Case(name="logits of another shape", status="logits_invalid", says="expected logits of shape",
         parts={"logits": "return torch.zeros(*tokens.shape, 7)"}),
    Case(name="logits of another dtype", status="logits_invalid", says="float64",
         parts={"logits": "return weights['table'].double().expand(*tokens.shape, -1)"}),
    Case(name="no logits", status="logits_invalid", says="NoneType", parts={"logits": "return None"}),
    Case(name="NaN logits", status="logits_invalid", says="NaN",
         parts={"logits": "return weights['table'].expand(*tokens.shape, -1) * float('nan')"}),
    Case(name="load raises", status="evaluator_failed", says="KeyError: 'no such weight'",
         parts={"load": "weights['no such weight']"}),
    Case(name="evaluator crashes", status="evaluator_failed", says="gone", parts={"logits": "os._exit(1)"}),
    Case(name="evaluator hangs", status="score_timeout", code=4, says="more than 5 s",
         track={"score_s": 5}, parts={"logits": WAIT}),
]  # fmt: skip


# One or two of each phase in `make test`; the others in the longer tests, and every message of the protocol, and what
# becomes of it, in test_session.py and test_referee.py.
SAMPLE = {
    "no load", "exception of many lines", "over budget in PREPARE", "go called by one rank only", "NaN weights",
}  # fmt: skip


def marks(case: Case, turn: int) -> list[pytest.MarkDecorator]:
    """Every third case that is not in the sample is one of the longer tests, all are of test-all."""
    if case.name in SAMPLE:
        return []
    return [pytest.mark.slow, pytest.mark.exhaustive] if turn % 3 else [pytest.mark.slow]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name.replace(" ", "-"), marks=marks(case, turn)) for turn, case in enumerate(CASES)],
)
def test_failure_is_recorded_and_leaves_nothing(
    case: Case, speedrun: Any, tmp_path: Path, write_track: Callable[..., Path], write_submission: Callable[..., Path]
) -> None:
    script = write_submission(tmp_path, **case.parts)
    if case.source is not None:
        script.write_text(case.source)
    track = write_track(tmp_path, **case.track)
    outcome = speedrun.run(script, "--nproc", str(case.ranks), track=track)  # asserts that nothing is left
    record = outcome.record
    assert (record["status"], outcome.code) == (case.status, case.code), outcome.stderr + record["sentence"]
    assert re.search(case.says, record["sentence"]), record["sentence"]
    assert record["sentence"].isprintable()
    assert len(record["sentence"]) <= 600
    assert outcome.stdout.startswith(f"{case.status}: {record['sentence']}")
    assert "Traceback" not in outcome.stdout + outcome.stderr
    assert record["finished_at"] is not None
    assert record["score"] is None

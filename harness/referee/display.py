"""A run as a person watches it: one line that says which phase, how far, how fast, how long still.

Redrawn twice a second by the referee's own loop, after the sockets have been served: a display must not take
cores or milliseconds from what it shows. Where nobody watches (no terminal), a line now and then.
"""

import sys
import time
from contextlib import suppress
from typing import TextIO, cast

from rich.console import Console
from rich.emoji import Emoji
from rich.live import Live
from rich.text import Text

from ..formats import numbers
from ..formats.messages import Log
from ..formats.observer import Observer

REDRAW_S = 0.5
LINE_S = 15.0  # without a terminal
BAR_CELLS = 24

Emoji.replace("")  # reads its table now, not after a submission has run that may have rewritten it


class _Listener:
    """A stream whose reader may go away, or whose disk may fill up, without harm to what is shown on it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def watching_console() -> Console:
    """Where a run is watched: stderr. A dropped terminal, a closed pipe or a full disk there never ends a run."""
    return Console(file=cast(TextIO, _Listener(sys.stderr)))


class Display(Observer):
    """Draws on a console; what it shows of the submission's own numbers is marked as theirs by never being kept.

    With a label, the run is one of many: only the line in progress is shown, under that label.
    """

    def __init__(self, console: Console, label: str = "") -> None:
        self._console, self._label = console, label
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._next_s = 0.0
        self._phase, self._budget_s, self._started_s = "", 0.0, time.monotonic()
        self._log: Log | None = None
        self._scored: tuple[int, int] | None = None
        self._written: tuple[int, int] | None = None  # of text, or of files

    def __enter__(self) -> "Display":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def phase(self, name: str, budget_s: float) -> None:
        if self._phase and not self._label:
            self._say(self._finished())
        self._phase, self._budget_s, self._started_s, self._next_s = name, budget_s, time.monotonic(), 0.0
        self._scored = None

    def log(self, log: Log) -> None:
        self._log = log

    def scored(self, done: int, total: int) -> None:
        self._scored = (done, total)

    def written(self, done: int, total: int) -> None:
        self._written = (done, total)

    def copied(self, done: int, total: int) -> None:
        self._written = (done, total)

    def tick(self) -> float:
        now = time.monotonic()
        if now >= self._next_s and self._phase:
            self._next_s = now + (REDRAW_S if self._live else LINE_S)
            if self._live:
                self._live.update(self._line(), refresh=True)
            elif now > self._started_s + 1:
                self._say(self._line())
        return max(self._next_s - now, 0.0)

    def close(self) -> None:
        """The run is over; say what the last phase came to."""
        if self._phase:
            self._say(self._finished())
            self._phase = ""

    def _say(self, line: Text) -> None:
        """A whole line: in a log file it is not wrapped."""
        self._console.print(line, highlight=False, soft_wrap=not self._console.is_terminal)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    def _finished(self) -> Text:
        return Text.assemble((f"{self._phase:<8}", "bold"), f"{numbers.fixed(self._elapsed_s(), 1):>7} s")

    def _line(self) -> Text:
        line = Text.assemble(
            self._label, (f"{self._phase:<8}", "bold cyan"), f"{numbers.fixed(self._elapsed_s(), 1):>7} s "
        )
        details = {"COPY": self._copying, "TEXT": self._writing, "TRAIN": self._training, "SCORE": self._scoring}.get(
            self._phase, self._waiting
        )()
        return line.append("  ".join(details))

    def _waiting(self) -> list[str]:
        return [f"of at most {self._budget_s:g} s: building, compiling, warming up on synthetic shards"]

    def _copying(self) -> list[str]:
        done, total = self._written or (0, 1)
        return [_bar(done / total), "two copies of the software that evaluators see, for this run and later ones"]

    def _writing(self) -> list[str]:
        done, total = self._written or (0, 1)
        return [_bar(done / total), "text in a language of this run's own"]

    def _training(self) -> list[str]:
        log, elapsed_s = self._log, self._elapsed_s()
        if log is None:
            return ["waiting for the first step"]
        parts = []
        if log.steps and 0 < log.step <= log.steps:
            parts += [_bar(log.step / log.steps), f"step {log.step}/{log.steps}"]
        else:
            parts += [f"step {log.step}"]
        if log.train_loss is not None:
            parts.append(f"train_loss {numbers.loss(log.train_loss)}")
        if log.tokens:
            parts.append(f"{numbers.abbreviated(log.tokens / elapsed_s)} tokens/s")
        if log.steps and 0 < log.step <= log.steps:
            parts.append(f"ETA {numbers.fixed_seconds(elapsed_s / log.step * (log.steps - log.step), 0)}")
        return parts

    def _scoring(self) -> list[str]:
        if self._scored is None:
            return ["starting two evaluators and the judge"]
        done, total = self._scored
        return [_bar(done / total), f"batch {done}/{total}"]


def _bar(share: float) -> str:
    filled = int(min(max(share, 0.0), 1.0) * BAR_CELLS)
    return "━" * filled + "─" * (BAR_CELLS - filled)

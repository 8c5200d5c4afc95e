"""A campaign as a person watches it: one line per run, with the means so far; the run in progress below them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from data.printing import printable

from ..formats import layout, numbers
from ..formats.observer import Observer
from ..referee.display import Display
from ..referee.last_frames import last_frames
from ..selftimed.record import SelfTimedRecord
from ..status import Status
from .campaign import Arm, CampaignRun, Plan, Slot


class Scoreboard:
    """Prints on a console. The plan is fixed, so looking at the means changes nothing."""

    def __init__(self, console: Console, plan: Plan, folder: Path) -> None:
        """folder: of the campaign; a run that fails shows where its own files raised."""
        self._console, self._plan, self._folder = console, plan, folder
        self._display: Display | None = None
        self._times: dict[Arm, dict[int, float]] = {"candidate": {}, "baseline": {}}
        self._losses: dict[Arm, list[float]] = {"candidate": [], "baseline": []}

    @contextmanager
    def watching(self) -> Iterator["Scoreboard"]:
        """Leaves the terminal as it was, whatever happens."""
        try:
            yield self
        finally:
            self._stop()

    def begins(self, slot: Slot, plan: Plan) -> Observer:
        """Somebody to watch the run, under the number it has."""
        self._stop()
        self._display = Display(self._console, label=f"{slot.index + 1}/{len(plan.slots)} {slot.arm} ")
        self._display.__enter__()
        return self._display

    def ended(self, slot: Slot, run: CampaignRun) -> None:
        """One line: which run, what it came to, and the mean of its arm so far."""
        self._stop()
        measured = run.result
        if measured is None:
            result = f"[red]{run.errors[0].id if run.errors else run.status}[/]: {escape(run.sentence)}"
        else:
            time_s, loss = measured
            self._times[slot.arm][slot.index if slot.pair is None else slot.pair] = time_s
            self._losses[slot.arm].append(loss)
            result = f"val_loss {numbers.loss(loss)}  {numbers.fixed(time_s, 3):>9} s   {self._so_far(slot.arm)}"
        if isinstance(run, SelfTimedRecord) and run.judged_loss is not None:
            result = f"{result}   judged {numbers.loss(run.judged_loss)}"
        number = f"{slot.index + 1:>{len(str(len(self._plan.slots)))}} of {len(self._plan.slots)}"
        self._console.print(f"[bold]{number}[/]  {slot.arm:<9}  {result}", soft_wrap=True, highlight=False)
        if run.status != Status.COMPLETE:
            self._show_frames(run)

    def _show_frames(self, run: CampaignRun) -> None:
        log = self._folder / layout.RECORD_RUNS_DIR / run.run_id / layout.LOG_FILE
        frames = last_frames(log, run.sentence) or ""
        for line in (*frames.splitlines(), *([f"log: {log}"] if log.exists() else ())):
            self._console.print(Text(f"    {printable(line)}"), soft_wrap=True)

    def _so_far(self, arm: Arm) -> str:
        times, losses = self._times[arm].values(), self._losses[arm]
        text = f"mean {numbers.loss(fmean(losses))}  {numbers.fixed_seconds(fmean(times))}"
        ours, theirs = self._times["candidate"], self._times["baseline"]
        pairs = ours.keys() & theirs.keys()
        if not pairs:
            return text
        ratio = fmean(ours[pair] for pair in pairs) / fmean(theirs[pair] for pair in pairs)
        return f"{text}   candidate / baseline {numbers.ratio(ratio)}"

    def _stop(self) -> None:
        if self._display is not None:
            self._display.__exit__()
            self._display = None

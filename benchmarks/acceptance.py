"""How often false claims are accepted and true ones missed: simulated campaigns against the harness's own tests.

    python -m benchmarks.acceptance [--repetitions 10000] [--seed 1] [--json]

Three groups of rates. What the harness does: n fixed in advance, both arms interleaved on one machine; the rate of
false acceptance must be at or below the test's alpha, and the rate at which a true claim is found at or above the
power that `speedrun plan` promises (each within three standard errors; exit code 1 otherwise). What those do who look
while running, with the test made for that. And what others do: stop when p is small, keep the best runs, race the arms
one after the other or on two machines.

Losses scatter by 0.0013 nats, times within one sitting by 0.113 %: the field's. A machine adds an offset of its own
(0.8 %) that all its runs share, a slow drift (0.05 % per run, either way) and a random walk (0.03 % per run). The noisy
machine is the shared one with two cores on which nano-2cpu's records ran: neighbouring runs there scatter by 2.1 %;
offset 5 %, drift 0.5 % and walk 0.3 % per run are guesses on the large side.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from harness.stats.comparison import compare
from harness.stats.power import LOSS_SD_NATS, TIME_SD, Design, log_saving, paired_times
from harness.stats.sequential import critical_t
from harness.stats.significance import equivalence_test, t_test, z_test

Floats = npt.NDArray[np.float64]
TARGET = 3.28
BASE_S = 75.0
T_ALPHA, Z_ALPHA, FASTER_ALPHA = 0.01, 0.001, 0.01
MARGIN_NATS = 0.002  # of equality, for systems claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Relative noise of log times on one machine."""

    sd: float
    offset: float
    drift: float
    walk: float

    def log_times(self, rng: np.random.Generator, repetitions: int, runs: int) -> Floats:
        """[repetitions, runs]: consecutive runs of one script, each row in a sitting of its own."""
        offset = rng.normal(0, self.offset, (repetitions, 1))
        slope = rng.normal(0, self.drift, (repetitions, 1)) * np.arange(runs)
        walk = np.cumsum(rng.normal(0, self.walk, (repetitions, runs)), axis=1)
        log: Floats = math.log(BASE_S) + offset + slope + walk + rng.normal(0, self.sd, (repetitions, runs))
        return log


NODE = Machine(sd=TIME_SD, offset=0.008, drift=0.0005, walk=0.0003)
NOISY = Machine(sd=0.021, offset=0.05, drift=0.005, walk=0.003)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often campaigns of one kind ended in an accepted claim."""

    group: str  # harness, looking, others
    claim: str
    rate: float
    repetitions: int
    at_most: float | None = None  # alpha
    at_least: float | None = None  # power

    @property
    def holds(self) -> bool:
        """Within its bound, give or take three standard errors."""
        if self.at_most is not None:
            return self.rate <= self.at_most + self._slack(self.at_most)
        return self.at_least is None or self.rate >= self.at_least - self._slack(self.at_least)

    def _slack(self, bound: float) -> float:
        return 3 * math.sqrt(bound * (1 - bound) / self.repetitions)


class Simulation:
    """All rates of one seed."""

    def __init__(self, repetitions: int, seed: int) -> None:
        self.repetitions = repetitions
        self.rng = np.random.default_rng(seed)

    def rates(self) -> Iterator[Rate]:
        yield from self._harness()
        yield from self._looking()
        yield from self._others()

    def _harness(self) -> Iterator[Rate]:
        """n fixed, arms interleaved: the functions that judge records, on data they have never seen."""
        for n in (4, 10, 20):
            rate = self._of(self._losses(n, 0.0), lambda x: t_test(x, TARGET).passes(T_ALPHA))
            yield self._rate("harness", f"loss at the target, t, {n} runs", rate, at_most=T_ALPHA)
        heavy = TARGET + LOSS_SD_NATS * self.rng.standard_t(5, (self.repetitions, 10)) / math.sqrt(5 / 3)
        rate = self._of(heavy, lambda x: t_test(x, TARGET).passes(T_ALPHA))
        yield self._rate("harness", "the same with heavy tails (t of 5 degrees), 10 runs", rate, at_most=T_ALPHA)
        for n in (4, 10):
            rate = self._of(self._losses(n, 0.0), lambda x: z_test(x, TARGET, LOSS_SD_NATS).passes(Z_ALPHA))
            yield self._rate("harness", f"loss at the target, z, {n} runs", rate, at_most=Z_ALPHA)
        a, b = self._losses(10, 0.0), self._losses(10, MARGIN_NATS)
        rate = sum(equivalence_test(x, y, MARGIN_NATS).passes(T_ALPHA) for x, y in zip(a, b, strict=True)) / len(a)
        yield self._rate("harness", "'equal' loss, in truth worse by the whole margin, 10 pairs", rate, at_most=T_ALPHA)
        yield from self._faster(NODE, "one node", 0.003)
        yield from self._faster(NOISY, "noisy machine", 0.02)
        n = _planned(Design(test="t", alpha=T_ALPHA, sd=LOSS_SD_NATS), 0.0015)
        rate = self._of(self._losses(n, 0.0015), lambda x: t_test(x, TARGET).passes(T_ALPHA))
        yield self._rate("harness", f"loss 0.0015 below the target found, t, {n} runs as planned", rate, at_least=0.9)

    def _faster(self, machine: Machine, where: str, effect: float) -> Iterator[Rate]:
        """Verdicts on identical scripts, and then on a true difference, with as many pairs as the plan asks for."""
        n = _planned(paired_times(_neighbours_sd(machine), FASTER_ALPHA), log_saving(effect))
        candidate, baseline = self._interleaved(machine, n)
        verdicts = self._verdicts(candidate, baseline)
        for verdict in ("faster", "slower"):
            claim = f"identical scripts '{verdict}', {where}, {n} pairs"
            yield self._rate("harness", claim, verdicts[verdict], at_most=FASTER_ALPHA)
        candidate, baseline = self._interleaved(machine, n)
        found = self._verdicts(candidate * (1 - effect), baseline)["faster"]
        yield self._rate("harness", f"{effect:.1%} faster found, {where}, {n} pairs as planned", found, at_least=0.9)
        candidate, baseline = self._interleaved(machine, n)
        found = self._verdicts(candidate / (1 - effect), baseline)["slower"]
        yield self._rate("harness", f"slowed by as much found, {where}, {n} pairs as planned", found, at_least=0.9)

    def _verdicts(self, candidate: Floats, baseline: Floats) -> dict[str, float]:
        """How often a comparison says faster, and how often slower; losses of both arms from one distribution."""
        times = np.stack([candidate, baseline], axis=2)
        losses = self.rng.normal(TARGET, LOSS_SD_NATS, times.shape)
        verdicts: Counter[str] = Counter()
        for pair_times, pair_losses in zip(times.tolist(), losses.tolist(), strict=True):
            found = compare(pair_times, pair_losses, dropped=0, alpha=FASTER_ALPHA, margin_nats=MARGIN_NATS)
            assert found is not None
            verdicts[found.verdict] += 1
        return {name: verdicts[name] / self.repetitions for name in ("faster", "slower")}

    def _looking(self) -> Iterator[Rate]:
        """The bet of harness/stats/sequential.py, looked at after every run."""
        for most in (30, 100):
            t = _t_by_run(self._losses(most, 0.0) - TARGET)
            claim = f"loss at the target, looking after each of {most} runs, anytime-valid"
            yield self._rate("looking", claim, _ever_below_bet(t), at_most=T_ALPHA)
        candidate, baseline = self._interleaved(NODE, 30)
        t = _t_by_run(np.log(candidate / baseline))
        claim = "identical scripts 'faster', looking after each of 30 pairs, anytime-valid"
        yield self._rate("looking", claim, _ever_below_bet(t), at_most=FASTER_ALPHA)
        t = _t_by_run(self._losses(30, 0.0015) - TARGET)
        yield self._rate(
            "looking", "loss 0.0015 below the target found within 30 runs, anytime-valid", _ever_below_bet(t)
        )

    def _others(self) -> Iterator[Rate]:
        for first, last in ((3, 10), (4, 20), (3, 30)):
            t = _t_by_run(self._losses(last, 0.0) - TARGET)[:, first - 2 :]
            stops = (t < special.stdtrit(np.arange(first - 1, last), T_ALPHA)).any(axis=1)
            yield self._rate("others", f"loss at the target, stop at p < 0.01, t, {first} to {last} runs", stops.mean())
        x = self._losses(30, 0.0) - TARGET
        n = np.arange(1, 31)
        z = np.cumsum(x, axis=1) / LOSS_SD_NATS / np.sqrt(n)
        stops = (z[:, 2:] < special.ndtri(Z_ALPHA)).any(axis=1)
        yield self._rate("others", "loss at the target, stop at p < 0.001, z, 3 to 30 runs", stops.mean())
        for runs in (12, 15, 20):
            best = np.sort(self._losses(runs, 0.0), axis=1)[:, :10]
            rate = self._of(best, lambda x: t_test(x, TARGET).passes(T_ALPHA))
            yield self._rate("others", f"loss at the target, the best 10 of {runs} runs kept", rate)
        yield from self._badly_arranged(7)

    def _badly_arranged(self, n: int) -> Iterator[Rate]:
        logs = NODE.log_times(self.rng, self.repetitions, 2 * n)
        rate = _welch_rate(logs[:, n:], logs[:, :n])
        yield self._rate("others", f"identical scripts 'faster', {n} runs of one, then {n} of the other, Welch", rate)
        elsewhere = NODE.log_times(self.rng, self.repetitions, n)
        rate = _welch_rate(elsewhere, NODE.log_times(self.rng, self.repetitions, n))
        yield self._rate("others", f"identical scripts 'faster', {n} runs each on two nodes, Welch", rate)
        candidate, baseline = self._interleaved(NODE, 20)
        t = _t_by_run(np.log(candidate / baseline))[:, 1:]
        stops = (t < special.stdtrit(np.arange(2, 20), FASTER_ALPHA)).any(axis=1)
        yield self._rate("others", "identical scripts 'faster', stop at p < 0.01, 3 to 20 pairs", stops.mean())

    def _losses(self, n: int, margin: float) -> Floats:
        return self.rng.normal(TARGET - margin, LOSS_SD_NATS, (self.repetitions, n))

    def _interleaved(self, machine: Machine, pairs: int) -> tuple[Floats, Floats]:
        """Seconds of candidate and baseline, [repetitions, pairs] each, run in the order AB BA AB ..."""
        log = machine.log_times(self.rng, self.repetitions, 2 * pairs).reshape(self.repetitions, pairs, 2)
        log[:, 1::2] = log[:, 1::2, ::-1]
        times = np.exp(log)
        return times[:, :, 0], times[:, :, 1]

    def _of(self, rows: Floats, accepts: Callable[[Floats], bool]) -> float:
        return sum(map(accepts, rows)) / len(rows)

    def _rate(
        self, group: str, claim: str, rate: float, at_most: float | None = None, at_least: float | None = None
    ) -> Rate:
        return Rate(
            group=group,
            claim=claim,
            rate=float(rate),
            repetitions=self.repetitions,
            at_most=at_most,
            at_least=at_least,
        )


def _planned(design: Design, effect: float) -> int:
    n = design.runs(effect)
    assert n is not None
    return n


def _neighbours_sd(machine: Machine) -> float:
    """What `speedrun plan` measures on it: half the mean square of steps from run to run, as a deviation."""
    return math.sqrt(machine.sd**2 + (machine.drift**2 + machine.walk**2) / 2)


def _t_by_run(x: Floats) -> Floats:
    """[repetitions, runs] -> [repetitions, runs - 1]: the t statistic against 0 after 2 runs, after 3, ..."""
    n = np.arange(1, x.shape[1] + 1)
    mean = np.cumsum(x, axis=1) / n
    squares = np.cumsum(x**2, axis=1) - n * mean**2
    t: Floats = (mean * np.sqrt(n))[:, 1:] / np.sqrt(squares[:, 1:] / (n - 1)[1:])
    return t


def _ever_below_bet(t: Floats) -> float:
    critical = [critical_t(n, T_ALPHA) for n in range(2, t.shape[1] + 2)]
    return float((t < -np.array(critical)).any(axis=1).mean())


def _welch_rate(a: Floats, b: Floats) -> float:
    """How often the unpaired test calls a smaller (equal sizes)."""
    n = a.shape[1]
    va, vb = a.var(axis=1, ddof=1) / n, b.var(axis=1, ddof=1) / n
    degrees = (va + vb) ** 2 * (n - 1) / (va**2 + vb**2)
    t = (a.mean(axis=1) - b.mean(axis=1)) / np.sqrt(va + vb)
    return float((special.stdtr(degrees, t) < FASTER_ALPHA).mean())


def table(rates: list[Rate]) -> str:
    lines = []
    titles = {"harness": "the harness: n fixed, interleaved", "looking": "looking while running, with the test for it"}
    group = ""
    for rate in rates:
        if rate.group != group:
            group = rate.group
            lines += ["", titles.get(group, "what others do")]
        bound = "" if rate.at_most is None else f"at most {rate.at_most:.1%}"
        bound = bound if rate.at_least is None else f"at least {rate.at_least:.0%}"
        lines.append(f"  {rate.claim:<76} {rate.rate:7.2%}  {bound}{'' if rate.holds else '  BROKEN'}")
    repetitions = rates[0].repetitions
    error = math.sqrt(T_ALPHA * (1 - T_ALPHA) / repetitions)
    lines += ["", f"{repetitions:,} campaigns each; one standard error of a rate of 1 % is {error:.2%}"]
    return "\n".join(lines[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rates = list(Simulation(args.repetitions, args.seed).rates())
    if args.json:
        print(json.dumps([asdict(rate) | {"holds": rate.holds} for rate in rates], indent=1))
    else:
        print(table(rates))
    raise SystemExit(0 if all(rate.holds for rate in rates) else 1)


if __name__ == "__main__":
    main()

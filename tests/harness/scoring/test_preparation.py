"""What PREPARE costs: by the cores, beyond a launch and the allowance; what cannot be counted costs its most."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.formats.prepare import Prepare, Work
from harness.formats.track import load_track
from harness.sandbox.inside import tokens_in
from harness.scoring import preparation

NANO = load_track("nano-2cpu")
NS = 10**9
TIMES = st.integers(0, 10**12)


@given(TIMES, TIMES, st.integers(1, 64))
def test_a_charge_is_what_every_core_did_beyond_the_allowance(cpu_ns: int, launch_ns: int, cores: int) -> None:
    prepare = Prepare(cpu_ns=cpu_ns, counted_by="control group", cores=cores, launch_cpu_ns=launch_ns)
    (charge,) = preparation.of_prepare(prepare, NANO.budget)
    assert abs(charge.charged_ns - max(0, cpu_ns - launch_ns - 2 * NS) / cores) <= 1
    assert bool(preparation.told((charge,), prepare)) == (charge.charged_ns > 0)


def test_where_prepare_is_free_nothing_is_charged() -> None:
    prepare = Prepare(cpu_ns=10**12, counted_by="control group", cores=2)
    assert preparation.of_prepare(prepare, NANO.budget) == ()  # no launch was measured: `verify` misses it
    free = NANO.budget.model_copy(update={"prepare_free_cpu_s": None})
    assert preparation.of_prepare(prepare.model_copy(update={"launch_cpu_ns": 1}), free) == ()
    assert preparation.of_prepare(None, NANO.budget) == ()


def test_a_charged_run_says_what_it_did_and_what_mends_it() -> None:
    prepare = Prepare(cpu_ns=31 * NS, counted_by="wall clock", cores=2, launch_cpu_ns=3 * NS)
    charges = preparation.of_prepare(prepare, NANO.budget)
    (sentence,) = preparation.told(charges, prepare)
    for part in (
        "31.00 s of processor time at most",
        "3.00 s to start",
        "2.00 s more",
        "13.00 s on every core",
        "less",
    ):
        assert part in sentence


@pytest.mark.parametrize(
    ("before", "after", "world_size", "broken"),
    [(64, 0, 2, False), (65, 0, 2, True), (65, 6500, 2, False), (66, 6500, 2, True), (32, 64, 1, False)],
)
def test_training_before_go_is_bounded(before: int, after: int, world_size: int, broken: bool) -> None:
    prepare = Prepare(
        cpu_ns=1, counted_by="control group", cores=2, before_go=Work(passes=before), after_go=Work(passes=after)
    )
    found = preparation.findings(prepare, NANO.rules, world_size)
    assert [finding.id for finding in found] == ["work_before_go"] * broken
    unbounded = NANO.rules.model_copy(update={"before_go_share": None})
    assert preparation.findings(prepare, unbounded, world_size) == []


@pytest.mark.parametrize(("tokens", "broken"), [(64 * 100, False), (64 * 100 + 1, True), (0, False), (None, False)])
def test_few_large_passes_before_go_are_bounded_by_their_tokens(tokens: int | None, broken: bool) -> None:
    counts = {"cpu_ns": 1, "counted_by": "control group", "cores": 2}
    before, after = Work(passes=9, tokens=tokens), Work(passes=50, tokens=50 * 100)
    found = preparation.findings(Prepare(**counts, before_go=before, after_go=after), NANO.rules, 2)
    assert [finding.id for finding in found] == ["work_before_go"] * broken
    assert not broken or ("6,400 tokens" in found[0].expected and "6,401 tokens" in found[0].found)
    unknown = Prepare(**counts, before_go=before, after_go=Work(passes=50, tokens=0))
    assert preparation.findings(unknown, NANO.rules, 2) == []


def test_tokens_are_seen_in_the_graph_of_a_pass() -> None:
    table = torch.zeros(50, 8, requires_grad=True)
    text = torch.randint(50, (4, 16))

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, weights: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(indices)
            return weights[indices].sum()

    losses = {
        "embedding": torch.nn.functional.embedding(text, table).sum(),
        "index": table[text].sum(),
        "targets": torch.nn.functional.cross_entropy(table.repeat(2, 1)[:64], text.flatten() % 8),
        "gather": table.gather(1, text.repeat(2, 1).t()[:16, :4] % 8).sum(),
        "own": Own.apply(table, text),
    }
    assert {name: tokens_in(loss) for name, loss in losses.items()} == {name: 64 for name in losses}
    assert tokens_in([losses["own"], table.sum()]) == 64
    assert tokens_in(table.sum()) == 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def unpack(tensor: torch.Tensor) -> torch.Tensor:
        raise AssertionError("unpacked what was packed")

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        packed = torch.nn.functional.embedding(text, table).sum()
    assert tokens_in(packed) == 0

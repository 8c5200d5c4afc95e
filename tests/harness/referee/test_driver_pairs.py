"""Known-bad pairs of driver and torch: a driver one too old is named, the least that goes is not."""

import pytest

from harness.referee.driver_pairs import PAIRS, BadPair, bad_pairs


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.cuda}-{pair.torch}")
def test_the_limit_is_exact(pair: BadPair) -> None:
    cuda, torch = pair.cuda if "." in pair.cuda else f"{pair.cuda}.1", f"{pair.torch or '2.12'}.0+cu999"
    old, least = f"{pair.least_driver - 1}.172.08", f"{pair.least_driver}.65.06"
    assert pair in [found for found, _ in bad_pairs([old], torch, cuda)]
    assert pair not in [found for found, _ in bad_pairs([least], torch, cuda)]
    sentence = next(sentence for found, sentence in bad_pairs([least, old, old], torch, cuda) if found is pair)
    assert all(part in sentence for part in (old, torch, cuda, str(pair.least_driver), pair.effect))


@pytest.mark.parametrize(
    ("drivers", "torch", "cuda"),
    [
        ([], "2.10.0", "13.0"),  # no GPU
        (["570.1"], None, None),  # no torch
        (["570.1"], "2.10.0+cpu", None),
        (["[N/A]", ""], "2.10.0", "13.0"),
        (["570.1"], "2.1.0+cu128", "12.8"),  # 2.1 is not 2.10
        (["570.1"], "2.10.0+cu126", "12.6"),
        (["570.1"], "2.10.0", "130"),
    ],
)
def test_nothing_is_said_of_what_is_not_in_the_table(drivers: list[str], torch: str | None, cuda: str | None) -> None:
    assert bad_pairs(drivers, torch, cuda) == []


def test_what_lets_nothing_start_comes_first() -> None:
    found = bad_pairs(["510.1"], "2.10.0+cu128", "12.8")
    assert [pair.starts for pair, _ in found] == [False, True]

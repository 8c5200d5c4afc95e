"""The walk through the page (docs/train_gpt.md): what it names is there, what it prices is what the history says."""

import builtins
import json
import re
from typing import Any

import pytest

from tests.train_gpt.flagship import FILE, gpt

WALK = (FILE.parent / "docs" / "train_gpt.md").read_text()
HISTORY = json.loads((FILE.parent / "records" / "gpt2-small-8xh100" / "history.json").read_text())
ROW = re.compile(r"^\| (.+?) \| ([\d, to]+) \| ([\d., ]+) \| (\d+) \| ([>\d, ]+) \|$", re.MULTILINE)
CLAIMS = {record["number"]: record["claim"]["train_time_s"] for record in HISTORY["records"] if record["number"]}


def section(title: str) -> str:
    return WALK.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_path_of_a_batch_and_of_a_gradient_name_what_is_on_the_page() -> None:
    source, named = FILE.read_text(), set[str]()
    for title in ("The path of a batch", "The path of a gradient"):
        named |= set(re.findall(r"`([A-Za-z_][\w.]*)[`(=]", section(title)))
    assert len(named) > 20
    for name in named:
        parts = [
            part for part in name.split(".") if part not in ("torch", "nn", "varlen") and not hasattr(builtins, part)
        ]
        assert all(re.search(rf"\b{part}\b", source) for part in parts), name
        owner: Any = gpt
        if hasattr(gpt, parts[0]) and len(parts) == 2:
            owner = getattr(gpt, parts[0])
            assert hasattr(owner, parts[1]) or parts[1] in owner.__annotations__, name


@pytest.mark.parametrize(("idea", "rows", "seconds", "lines", "worth"), ROW.findall(WALK))
def test_a_price_is_the_history_s(idea: str, rows: str, seconds: str, lines: str, worth: str) -> None:
    """Seconds: the record before minus the record; several rows are summed or stand side by side."""
    numbers = [int(number) for number in re.findall(r"\d+", rows)]
    if "to" in rows:
        numbers = list(range(numbers[0], numbers[1] + 1))
    saved = [CLAIMS[number - 1] - CLAIMS[number] for number in numbers]
    told = [float(number) for number in seconds.split(", ")]
    assert told == pytest.approx(saved if len(told) > 1 else [sum(saved)], abs=0.051), idea
    each = 1000 * sum(told) / int(lines)
    assert each > 1000 if worth.startswith(">") else float(worth) == pytest.approx(each, abs=1)
    assert each > 1  # or it would not be on the page


def test_the_price_list_is_long() -> None:
    assert len(ROW.findall(WALK)) > 20

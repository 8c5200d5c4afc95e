"""Clocks of GPUs, from lines that nvidia-smi wrote: those of the race and no others."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.system import gpu_clocks
from harness.system.gpu_clocks import ClockSampler, mean_clock_mhz

# Recorded form: `nvidia-smi --query-gpu=uuid,clocks.sm --format=csv,noheader,nounits -lms 500` on two GPUs
RECORDED = b"GPU-7f1c, 1980\nGPU-90ab, 1965\nGPU-7f1c, 1410\nGPU-90ab, 1425\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RECORDED, 1695.0),
        (b"f1c, 1980\n" + RECORDED[-30:], 1605.0),  # from the middle of a line
        (b"GPU-7f1c, [N/A]\n", None),
        (b"Unable to determine the device handle\n", None),
        (b"GPU-7f1c, 1980\nWARNING: infoROM is corrupted\nGPU-7f1c, -1\n", 1980.0),
        ("GPU-7f1c, ²\n".encode(), None),
        (b"", None),
    ],
)
def test_rows_are_rows_and_all_else_is_passed_over(text: bytes, expected: float | None) -> None:
    assert mean_clock_mhz(text) == expected


def test_only_samples_after_the_start_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    """A program in nvidia-smi's place, which goes on until it is stopped: 1980 MHz before GO, 1410 since."""
    go, log = tmp_path / "go", tmp_path / "gpus"
    program = (
        f"import os, time\nwhile True:\n  print('GPU-1,', 1410 if os.path.exists({str(go)!r}) else 1980, flush=True)\n"
        "  time.sleep(0.01)"
    )
    monkeypatch.setattr(gpu_clocks, "QUERY", [sys.executable, "-c", program])
    sampler = ClockSampler(log)
    until(lambda: b"1980" in log.read_bytes(), "the first sample")
    go.touch()
    until(lambda: b"1410" in log.read_bytes(), "a sample of the race")
    sampler.begin()
    size = log.stat().st_size
    until(lambda: log.stat().st_size > size + 20, "more samples")
    pid = sampler.pid
    assert sampler.end() == 1410.0
    assert not Path(f"/proc/{pid}").exists()
    assert sampler.end() is None


def test_without_nvidia_smi_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_clocks, "QUERY", ["no-such-program"])
    sampler = ClockSampler(tmp_path / "gpus")
    sampler.begin()
    assert (sampler.end(), (tmp_path / "gpus").exists()) == (None, False)

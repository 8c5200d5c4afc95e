"""A short refereed run on made-up shards: its script, its track, and what its record says.

With GPT-2's vocabulary and the track's own windows, so that what evaluators and judge do is what they do in an exam of
the GPT-2 tracks, only less of it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.system.clock import NS

ROOT = Path(__file__).resolve().parents[2]
EXAM_TOKENS = {"cuda": 2_097_152, "cpu": 16_384}
WHOLE_EXAM = {
    "scored": 10_485_760,
    "shadow": 1_048_576,
    "copies": 256 + 64 + 64,
}  # of gpt2-small-*: tokens, tokens, windows


def short_run(device: str, folder: Path) -> tuple[Path, Path]:
    """The script with few steps, and a track like `gpt2-small-1gpu` on the dataset `synthetic`."""
    script, track = folder / "train_gpt.py", folder / "track.toml"
    text = (ROOT / "train_gpt.py").read_text()
    script.write_text(text.replace("steps=1_920", "steps=40").replace("steps=76", "steps=8"))
    changes = {
        r'^name = ".*"': 'name = "hopper"', r'^dataset = ".*"': 'dataset = "synthetic"',
        r"^train_shards = .*": "train_shards = 2",
        r"^val_tokens = .*": f"val_tokens = {EXAM_TOKENS[device]}",
        r"^target_val_loss = .*": "target_val_loss = 20.0",
        r"^shadow_tokens = .*": f"shadow_tokens = {EXAM_TOKENS[device] // 10}",
        # of so few tokens, chance alone can part two texts by more than a real track allows
        r"^shadow_tolerance_nats = .*": "shadow_tolerance_nats = 20.0",
    }  # fmt: skip
    if device == "cpu":
        changes |= {
            r'^device = "cuda"': 'device = "cpu"', r"^gpu_models = .*\n": "",
            r"^memory_bytes = .*": "memory_bytes = 8_000_000_000", r"^probe_pairs = .*": "probe_pairs = 16",
        }  # fmt: skip
    text = (ROOT / "records" / "gpt2-small-1gpu" / "track.toml").read_text()
    for pattern, value in changes.items():
        text, count = re.subn(pattern, value, text, count=1, flags=re.MULTILINE)
        if not count:
            raise ValueError(f"expected a line {pattern} in the track of gpt2-small-1gpu, found none")
    track.write_text(text)
    return script, track


def rows(record: dict[str, Any], vocab: int) -> Iterator[tuple[str, str]]:
    """How it ended, phases in seconds, the loss, the judge's rate and what the whole exam would take at it."""
    yield "status, sandbox", f"{record.get('status')}, {record.get('sandbox')}"
    for name, ns in (record.get("phases") or {}).items():
        if ns is not None:
            yield name.removesuffix("_ns"), f"{ns / NS:.2f} s"
    if score := record.get("score"):
        yield "val_loss", f"{score['val_loss']:.4f}"
        window, rate = score["windows"]["tokens"], tokens_read(score) / score["eval_ns"] * NS
        whole = WHOLE_EXAM["scored"] + WHOLE_EXAM["shadow"] + WHOLE_EXAM["copies"] * window
        yield (
            "SCORE",
            f"{rate:,.0f} tokens/s of {vocab:,} logits, {tokens_read(score):,} tokens in windows of {window:,}; "
            f"the {whole:,} of a whole exam would take {whole / rate:.0f} s (a projection)",
        )


def tokens_read(score: dict[str, Any]) -> int:
    """Everything that was asked: what is scored, shadow text, and copies of windows for the probes."""
    probes = score["probes"]
    copies = probes["pairs"] + sum((probes.get(kind) or {"pairs": 0})["pairs"] for kind in ("order", "repeat"))
    shadow = (score.get("shadow") or {"count": 0})["count"]
    return int(score["count"] + shadow + copies * score["windows"]["tokens"])

"""Schedules as tables of numbers, and the stream of rows of the flagship."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train_gpt.flagship import DOCUMENT, gpt, small, tiny, write_tokens


def test_schedules_are_these_numbers() -> None:
    hp = tiny(steps=100, lr_cooldown=0.5, lr_floor=0.1, momentum_warmup=10, momentum_cooldown=20)
    table = {
        step: (gpt.stage_at(step, hp).rows, gpt.lr_factor(step, hp), gpt.muon_momentum(step, hp))
        for step in (0, 5, 10, 49, 50, 75, 99)
    }
    expected = {
        0: (4, 1.0, 0.85),
        5: (4, 1.0, 0.90),
        10: (4, 1.0, 0.95),
        49: (4, 1.0, 0.95),
        50: (8, 1.5, 0.95),
        75: (8, 1.5 * 0.5 + 0.1 * 0.5, 0.95),
        99: (8, 1.5 * 0.02 + 0.1 * 0.98, 0.855),
    }
    assert table == {step: pytest.approx(row) for step, row in expected.items()}


def test_the_large_preset_s_schedule_is_this_table() -> None:
    hp = gpt.GPT2_SMALL
    assert (hp.steps, hp.length) == (1920, 16_384)
    long = (384, 896, 1408, 1664)
    expected = {
        0: (131_072, gpt.Windows(128, 384, long[:1], 896), [1, 0.5, 0.25]),
        625: (131_072, gpt.Windows(128, 384, long[:1], 896), [1, 0.5, 0.25 * (1 - 625 / 1920 / 0.326)]),
        626: (262_144, gpt.Windows(384, 896, long[:2], 2048), [1, 0.5 * (1 - (626 / 1920 - 0.326) / 0.327)]),
        1253: (262_144, gpt.Windows(384, 896, long[:2], 2048), [1, 0.5 * (1 - (1253 / 1920 - 0.326) / 0.327)]),
        1254: (393_216, gpt.Windows(640, 1408, long[:3], 2048), [1]),
        1879: (393_216, gpt.Windows(640, 1408, long[:3], 2048), [1]),
        1880: (393_216, gpt.Windows(768, 1664, long, 2048), [1]),
        1919: (393_216, gpt.Windows(768, 1664, long, 2048), [1]),
    }
    for step, (tokens, windows, weights) in expected.items():
        assert gpt.stage_at(step, hp).rows * hp.length == tokens
        assert gpt.windows_at(step, hp) == windows
        assert gpt.mtp_weights(step, hp) == pytest.approx(weights)
    assert gpt.windows_at(1920, hp) == gpt.Windows(768, 2560, (*long, 2560), 0)
    assert gpt.lr_factor(1919, hp) == pytest.approx(0.1, abs=2e-3)


def test_plain_rows_join_shards_and_start_over(tmp_path: Path) -> None:
    paths = [write_tokens(tmp_path / f"{i}.bin", count) for i, count in enumerate((70, 45))]
    whole = np.concatenate([gpt.open_shard(path) for path in paths])
    stream = gpt.Stream(paths, 32, DOCUMENT)
    for index in range(12):
        expected = whole[(np.arange(33) + index * 32) % 115]
        assert np.array_equal(stream.read(stream.plan_row(0, 0)), expected)


@pytest.mark.parametrize("scan", [2**22, 50])
def test_documents_are_found_wherever_the_search_is_cut(
    scan: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpt, "SCAN", scan)
    paths = [write_tokens(tmp_path / f"{i}.bin", count) for i, count in enumerate((170, 145))]
    shards = [gpt.open_shard(path) for path in paths]
    stream = gpt.Stream(paths, 32, DOCUMENT)
    begins = [i + base for base, shard in zip((0, 170), shards, strict=True) for i in np.flatnonzero(shard == DOCUMENT)]
    found = [next(stream.documents) for _ in range(2 * len(begins))]
    assert [start for start, _ in found] == begins * 2
    whole = np.concatenate(shards)
    for start, count in found:
        assert (whole[start : start + count] == DOCUMENT).sum() == 1
        end = start + count
        assert end in (*begins, 170, 315) or (end - 170 * (end > 170)) % scan == 0


@pytest.mark.parametrize(("max_doc_len", "max_docs"), [(6, 16), (14, 16), (40, 16)])
def test_rows_are_documents_cut_to_length_and_few_enough(max_doc_len: int, max_docs: int, tmp_path: Path) -> None:
    """What the kernel relies on: at most `max_docs` documents, none longer than `max_doc_len`, in stream order."""
    stream = gpt.Stream([write_tokens(tmp_path / "a.bin", 4000)], 64, DOCUMENT)
    last = -1
    for _ in range(20):
        row = stream.plan_row(max_doc_len, max_docs)
        assert len(row) <= max_docs
        assert sum(count for _, count in row) == 65
        assert all(0 < count <= max_doc_len for _, count in row)
        starts = [start for start, _ in row]
        assert starts == sorted(starts)
        assert starts[0] > last
        last = starts[-1]
        tokens = stream.read(row)
        assert np.flatnonzero(tokens == DOCUMENT).tolist() == np.cumsum([0, *(n for _, n in row)])[:-1].tolist()


def test_a_row_too_full_of_short_documents_leaves_some_out(tmp_path: Path) -> None:
    tokens = np.tile(np.array([DOCUMENT, 1, 2] * 40 + [DOCUMENT] + [3] * 99, dtype="<u2"), 3)
    header = np.zeros(256, dtype="<i4")
    header[:3] = 20240520, 1, len(tokens)
    (tmp_path / "a.bin").write_bytes(header.tobytes() + tokens.tobytes())
    stream = gpt.Stream([str(tmp_path / "a.bin")], 64, DOCUMENT)
    rows = [stream.plan_row(30, 4) for _ in range(3)]
    assert [[count for _, count in row] for row in rows] == [[3, 3, 30, 29], [3, 3, 30, 29], [3, 3, 30, 29]]
    assert rows[0][2][0] == 120  # thirty-eight documents of three tokens further on


@pytest.mark.parametrize("pieces", [1, 8])
def test_any_number_of_ranks_takes_the_same_rows(pieces: int) -> None:
    hp = tiny(micro_batches=pieces)
    for world in (1, 2, 4, 8):
        parts = [gpt.micro_batches(16, hp, gpt.Ranks(rank=rank, world_size=world)) for rank in range(world)]
        assert sorted(row for part in parts for batch in part for row in batch) == list(range(16))
        assert len({len(batch) for part in parts for batch in part}) == 1


@pytest.mark.parametrize("preset", [tiny, small])
def test_all_ranks_together_read_what_one_reads_alone(preset: Any, tmp_path: Path) -> None:
    hp, shard = preset(micro_batches=4), write_tokens(tmp_path / "a.bin", 30_000)

    def read(rank: int, world: int) -> list[list[Any]]:
        stream = gpt.Stream([shard], hp.length, DOCUMENT)
        return [list(step) for step in gpt.batches(stream, range(6), hp, gpt.Ranks(rank=rank, world_size=world))]

    alone = read(0, 1)
    for world in (2, 4):
        together = [read(rank, world) for rank in range(world)]
        for step, micro in enumerate(alone):
            for i, batch in enumerate(micro):
                assert together[i % world][step][i // world].equal(batch)


def test_prefetching_changes_no_item_and_works_in_another_thread() -> None:
    threads: set[int] = set()

    def items() -> Any:
        for i in range(10):
            threads.add(threading.get_ident())
            yield i

    assert list(gpt.prefetch(items(), depth=3)) == list(range(10))
    assert threads
    assert threading.get_ident() not in threads


def test_a_loader_s_failure_is_the_trainer_s() -> None:
    def items() -> Any:
        yield 1
        raise ValueError("no more shards")

    with pytest.raises(ValueError, match="no more shards"):
        list(gpt.prefetch(items()))

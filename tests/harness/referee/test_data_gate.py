"""Nothing of the real data before GO, all of it after, and the way back clean."""

import os
from pathlib import Path

import numpy as np
import pytest

from data.shards import read_shard, write_shard
from harness.errors import DataError
from harness.referee.data_gate import WARMUP_SHARDS, DataGate


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    paths = [folder / f"train_{index:06d}.bin" for index in range(1, 4)]
    for index, path in enumerate(paths):
        write_shard(path, np.full(1000 + index, 40_000 + index))
    return paths


def stage_of(shards: list[Path], tmp_path: Path) -> DataGate:
    return DataGate(shards, tmp_path / "data", tmp_path / "tmp")


def everything_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_shards_appear_at_go_and_not_before(shards: list[Path], tmp_path: Path) -> None:
    stage = stage_of(shards, tmp_path)
    warmup = stage.write_warmup(vocab_size=50, document_token=7)
    assert stage.method == "hard links"
    assert sorted(map(str, everything_below(stage.visible))) == warmup
    assert not any(os.path.exists(path) for path in stage.shards)
    stage.reveal()
    for shard, real in zip(stage.shards, shards, strict=True):
        assert Path(shard).is_relative_to(stage.visible)
        assert os.path.samefile(shard, real)
    assert len(everything_below(stage.visible)) == WARMUP_SHARDS + len(shards)
    stage.close()
    stage.close()
    assert everything_below(tmp_path) == shards  # the data itself is still there
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["set"]


def test_warmup_shards_have_the_real_format_and_nothing_of_the_real_content(shards: list[Path], tmp_path: Path) -> None:
    stage = stage_of(shards, tmp_path)
    for path in stage.write_warmup(vocab_size=50, document_token=7):
        tokens = read_shard(Path(path))
        assert len(tokens) == 1000  # no longer than the real ones
        assert tokens[0] == 7
        assert tokens.max() < 50
    stage.close()


def test_without_a_document_token_tokens_are_uniform(shards: list[Path], tmp_path: Path) -> None:
    stage = stage_of(shards, tmp_path)
    (first, *_) = stage.write_warmup(vocab_size=2**16, document_token=None)
    assert read_shard(Path(first)).max() > 60_000
    stage.close()


def test_linked_shards_are_copied_where_they_cannot_be_linked(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    stage = stage_of(shards, tmp_path)
    stage.write_warmup(vocab_size=50, document_token=None)
    assert stage.method == "copies"
    assert stage.root.is_relative_to(tmp_path / "tmp")
    assert not any(os.path.exists(path) for path in stage.shards)
    stage.reveal()
    for shard, real in zip(stage.shards, shards, strict=True):
        assert Path(shard).read_bytes() == real.read_bytes()
        assert not os.path.samefile(shard, real)
    stage.close()
    assert list((tmp_path / "tmp").iterdir()) == []
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["set"]


def test_a_data_folder_that_cannot_be_written_is_no_obstacle(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.referee import data_gate as module

    make = module.scratch.make_scratch

    def refuse_data(parent: Path) -> Path:
        if parent == tmp_path / "data":
            raise PermissionError(13, "Permission denied")
        return make(parent)

    monkeypatch.setattr(module.scratch, "make_scratch", refuse_data)
    stage = stage_of(shards, tmp_path)
    assert stage.method == "copies"
    stage.close()


def test_shards_that_are_links_into_another_place_work(shards: list[Path], tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in shards:
        path.rename(elsewhere / path.name)
        path.symlink_to(elsewhere / path.name)
    stage = stage_of(shards, tmp_path)
    stage.reveal()
    for shard in stage.shards:
        assert not os.path.islink(shard)  # a link would point out of the sandbox
        assert len(read_shard(Path(shard))) >= 1000
    stage.close()


def test_a_shard_that_cannot_be_read_is_a_data_error(shards: list[Path], tmp_path: Path) -> None:
    shards[1].unlink()
    shards[1].mkdir()
    with pytest.raises((DataError, OSError)):
        stage_of(shards, tmp_path)

"""track.toml: a closed schema, and the tracks of this checkout."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from data import datasets
from harness.errors import TrackError
from harness.formats import layout
from harness.formats.track import Rules, Track, default_track, list_tracks, load_track

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "tests" / "tracks" / "tiny" / "track.toml").read_text()
SECTIONS = ["", *(name for name, value in tomllib.loads(TEXT).items() if isinstance(value, dict))]


def is_required(section: str, key: str) -> bool:
    kind = Track.model_fields[section].annotation if section else Track
    assert isinstance(kind, type) and issubclass(kind, BaseModel)
    return kind.model_fields[key].is_required()


REQUIRED = [
    (section, key)
    for section in SECTIONS
    for key in (tomllib.loads(TEXT)[section] if section else tomllib.loads(TEXT))
    if is_required(section, key)
]


def write(folder: Path, text: str) -> str:
    (folder / "track.toml").write_text(text)
    return str(folder)


def test_tracks_of_this_checkout_load_and_belong_where_they_lie() -> None:
    found = list_tracks()
    assert {"nano-2cpu", "gpt2-small-8xh100"} <= {track.name for track in found}
    for track, path in zip(found, layout.track_files(), strict=True):
        assert track.name == path.parent.name
        assert load_track(track.name) == track
        assert track.hardware.world_size <= track.hardware.max_world_size
        assert track.data.dataset in datasets.list_datasets()
        assert track.evaluation.max_tokens <= track.evaluation.max_batch_tokens
        assert (track.significance.test == "z") == (track.significance.sigma is not None)
        assert (track.target_val_loss is None) == (track.metric == "val_loss")
    assert default_track() in {track.name for track in found}


def test_a_folder_or_a_file_can_be_named(tmp_path: Path) -> None:
    folder = write(tmp_path, TEXT)
    assert load_track(folder) == load_track(f"{folder}/track.toml")
    assert load_track(folder).sha256 != load_track(write(tmp_path, TEXT + "\n")).sha256


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_is_an_error_that_names_it(tmp_path: Path, section: str) -> None:
    text = TEXT.replace(f"[{section}]", f"[{section}]\ntrain_minutes = 3") if section else "train_minutes = 3\n" + TEXT
    key = f"{section}.train_minutes" if section else "train_minutes"
    with pytest.raises(TrackError, match=f"key '{key}'") as raised:
        load_track(write(tmp_path, text))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("section", "key"), REQUIRED)
def test_a_missing_key_is_an_error_that_names_it(tmp_path: Path, section: str, key: str) -> None:
    pattern = rf"\[{key}\]\n(?:[^\[].*\n|\n)*" if not section and key in SECTIONS else rf"{key} = .*\n"
    text, count = re.subn(f"(?m)^{pattern}", "", TEXT)
    assert count == 1
    with pytest.raises(TrackError, match=rf"key '{section}\.?{key}'"):
        load_track(write(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("train_s = 30", "train_s = 0"),
        ("train_s = 30", "train_s = -1"),
        ("train_s = 30", "train_s = inf"),
        ("train_s = 30", "train_s = nan"),
        ("train_s = 30", 'train_s = "30"'),
        ("train_s = 30", "train_s = true"),
        ("world_size = 2\n", "world_size = 2.0\n"),
        ("target_val_loss = 6.0", "target_val_loss = nan"),
        ('device = "cpu"', 'device = "tpu"'),
        ("alpha = 0.01", "alpha = 1"),
        ('name = "tiny"', 'name = "../tiny"'),
        ('rules_version = "1.0"', 'rules_version = "one"'),
        ("schema_version = 1", "schema_version = 2"),
        ("min_runs = 2", "min_runs = 0"),
        ("time_spread = 0.9 ", "time_spread = 1.5 "),
        ('sandbox = "process"', 'sandbox = "a box"'),
        ('waivable = ["blob",', 'waivable = ["significance",'),
        ('waivable = ["blob",', 'waivable = ["blobs",'),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_key(tmp_path: Path, old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(TrackError, match=new.partition(" ")[0]) as raised:
        load_track(write(tmp_path, TEXT.replace(old, new)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"\xff", b"a = ", b"a = 1\na = 2", b"\0"])
def test_what_is_no_toml(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "track.toml").write_bytes(content)
    with pytest.raises(TrackError, match="expected TOML"):
        load_track(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["no-such-track", "", "../../etc", "nano-2cpu/../nano-2cpu/x", "/", "gpt2", "a\0b", "x" * 5000]
)
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(TrackError):
        load_track(name)


def test_gpu_models_are_a_list(tmp_path: Path) -> None:
    text = TEXT.replace("[hardware]", '[hardware]\ngpu_models = ["H100", "H200"]')
    assert load_track(write(tmp_path, text)).hardware.gpu_models == ("H100", "H200")


def test_rules_may_be_left_out_and_then_have_numbers(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^\[rules\]\n(?:[^\[].*\n|\n)*", "", TEXT)
    assert text != TEXT
    assert load_track(write(tmp_path, text)).rules == Rules()


def test_every_track_of_this_checkout_states_its_rules() -> None:
    for path in layout.track_files():
        stated = tomllib.loads(path.read_text())["rules"]
        assert {"min_runs", "sandbox", "waivable"} <= set(stated), path

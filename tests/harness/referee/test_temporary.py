"""Where a run's temporary files go when TMPDIR would break it, and what is left of them: nothing."""

import tempfile
from pathlib import Path

import pytest

from harness.errors import RunFailure
from harness.referee import temporary, trials
from harness.referee.temporary import LONGEST_TMPDIR, remove_own, temporary_folders


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """TMPDIR with a long path, and the other place there is."""
    long, other = tmp_path / ("long" * 30), tmp_path / "other"
    long.mkdir()
    other.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(long))
    monkeypatch.setattr(temporary, "OTHERS", (other,))
    return long, other


@pytest.mark.parametrize("level", ["namespaces", "landlock", "process"])
def test_a_long_path_is_no_obstacle(places: tuple[Path, Path], level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    long, other = places
    monkeypatch.setattr(temporary, "LONGEST_TMPDIR", len(str(other)) + 60)
    with temporary_folders(level) as made:
        assert made.path.parent == long
        assert (None if made.short is None else made.short.parent) == (None if level == "namespaces" else other)
    assert [*long.iterdir(), *other.iterdir()] == []


def test_where_no_path_is_short_enough_nothing_is_left_of_the_attempt(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary, "LONGEST_TMPDIR", 10)
    with temporary_folders("process") as made:
        assert made.short is None
        assert list(places[1].iterdir()) == []


def test_files_go_where_they_can_be_written_and_executed(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    long, other = places
    monkeypatch.setattr(trials, "execute_problem", lambda path: "Operation not permitted" if path == long else None)
    for level, place in (("namespaces", long), ("landlock", other), ("process", other)):
        with temporary_folders(level) as made:
            assert made.path.parent == place
    monkeypatch.setattr(trials, "write_problem", lambda path: None if path == long else "Read-only file system")
    with pytest.raises(RunFailure, match=r"expected .* executed, found .*noexec.*Read-only.*; set TMPDIR") as refused:
        temporary_folders("landlock").__enter__()
    assert refused.value.status == "machine_failed"
    with temporary_folders("namespaces") as made:
        assert made.path.parent == long


def test_without_a_place_at_all_there_is_one_sentence(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setattr(temporary, "OTHERS", (places[1] / "nowhere",))
    remove_own()  # as a run that ends does
    with pytest.raises(RunFailure, match="expected a folder for temporary files, found none; set TMPDIR"):
        temporary_folders("namespaces").__enter__()


def test_what_a_cut_short_run_leaves_is_removed(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "LONGEST_TMPDIR", len(str(places[1])) + 60)
    cut_short = temporary_folders("process")
    cut_short.__enter__()
    assert all(list(place.iterdir()) for place in places)
    remove_own()
    del cut_short
    assert [path for place in places for path in place.iterdir()] == []


def test_the_room_left_for_a_socket_is_right() -> None:
    assert LONGEST_TMPDIR + len("/pymp-abcdefgh/listener-abcdefgh") == 107

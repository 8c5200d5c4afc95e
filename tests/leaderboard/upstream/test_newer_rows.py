"""New rows: a table, folders and logs as upstream has them since August 2026, imported without a word of ours."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from harness.formats import layout
from harness.formats.track import load_track
from harness.selftimed.logs import read_log
from leaderboard.cli.reproduce import reproduce
from leaderboard.upstream.audit import audit
from leaderboard.upstream.checkout import Checkout
from leaderboard.upstream.claims import timed_rows
from leaderboard.upstream.embedded import MAIN, entry_of, size_of, split_source
from leaderboard.upstream.history import History, encode, read_history, write_history
from leaderboard.upstream.imported import imported_standings
from leaderboard.upstream.importing import import_history
from leaderboard.upstream.merges import read_merges
from leaderboard.upstream.newer_rows import newer_rows
from leaderboard.upstream.stated import read_stated
from tests.leaderboard.upstream.made_checkouts import SMALL, Commit, a_log, base, make_checkout, package

SMALL_TRACK = "gpt2-small-8xh100"
OLD = "import torch\nprint('row 91')\n"
PACKAGE = package(
    main="import track_1_short\nprint('row 92')\n",
    triton_kernels_dot_py="import triton\n",
    track_1_short__model__gpt_dot_py="class GPT:\n\n    pass\n",
    index__src__lib_dot_rs="fn main() {}\n",
)
GITHUB = "https://github.com/KellerJordan/modded-nanogpt/tree/master/"
TABLE = f"""| 90 | 1.13 minutes | FP8 | 08/03/26 | [f]({SMALL}/2026-08-03_FP8) | @theonlyglitch_ |
| 91 | 1.126 minutes | Mask | 08/06/26 | [f]({GITHUB}{SMALL}/2026-08-06-Mask),[PR](https://x/pull/350) | @jvarho |
| 92 | 0.665 minutes | ANVIL2 | 08/30/26 | [f]({SMALL}/2026-08-30_ANVIL2),[PR](https://x/pull/360) | @DevenPzak |
| 93 | 0.6 minutes | [A *link*](http://x)\x1b[1m | 09/01/26 | [f]({SMALL}/2026-09-01-Dash) | Ada Lovelace, and @bob |
| 94 | 0.5 minutes | flat | 09/02/26 | [f]({SMALL}/2026-09-02_Flat/README.md) | @eve |
"""
LOSSES = [3.2750, 3.2770, 3.2790]


def archive(root: Path) -> Path:
    """Five rows: by the catalogue's words (90 to 92), with two arms (93), flat with two scripts (94)."""
    old = {f"{SMALL}/2026-08-03_FP8/candidate_h100/{i}.txt": a_log(3.275 + i / 1000, 70_000 + i) for i in range(4)}
    first = base(
        TABLE, {"train_gpt.py": OLD, f"{SMALL}/2026-08-06-Mask/pr-344-1300/a.txt": a_log(3.277, 500_000), **old}
    )
    anvil = {
        f"{SMALL}/2026-08-30_ANVIL2/this_pr/{i}.txt": a_log(loss, 39_900 + i, 1194, script=PACKAGE)
        for i, loss in enumerate(LOSSES)
    }
    anvil |= {
        f"{SMALL}/2026-08-30_ANVIL2/baseline/{i}.txt": a_log(3.278, 73_900 + i, 1285, script=OLD) for i in range(2)
    }
    dash = {
        f"{SMALL}/2026-09-01_Dash/candidate/{i}.txt": a_log(3.27 + i / 1000, 36_000 + i, script="new") for i in range(5)
    }
    dash |= {f"{SMALL}/2026-09-01_Dash/baseline/{i}.txt": a_log(3.279, 39_000, script=OLD) for i in range(1)}
    flat = {f"{SMALL}/2026-09-02_Flat/{i}.txt": a_log(3.271 + i / 1000, 30_000 + i, script="newer") for i in range(3)}
    flat |= {
        f"{SMALL}/2026-09-02_Flat/old{i}.txt": a_log(3.2791 + i / 10_000, 36_100 + i, script=OLD) for i in range(2)
    }
    flat[f"{SMALL}/2026-09-02_Flat/cut.txt"] = a_log(0, 30_000, script="newer", whole=False)
    master = "refs/heads/master"
    return make_checkout(
        root,
        [
            Commit(master, first, subject="before"),
            Commit(master, anvil, on=master, subject="Track 1: a record (#360)", day=58),
            Commit(master, {**dash, **flat}, on=master, subject="two more", day=60),
        ],
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive(tmp_path_factory.mktemp("newer") / "tree")


@pytest.fixture(scope="module")
def small(tree: Path) -> History:
    return import_history(Checkout(tree))[0]


def test_every_row_comes_from_its_table(small: History) -> None:
    found = [(r.number, r.claim.train_time_s, str(r.date), str(r.merged), r.pull_request) for r in small.records]
    assert found == [
        (90, 67.8, "2026-08-03", "2026-08-01", None),
        (91, 67.56, "2026-08-06", "2026-08-01", 350),
        (92, 39.9, "2026-08-30", "2026-09-28", 360),
        (93, 36.0, "2026-09-01", "2026-09-30", None),
        (94, 30.0, "2026-09-02", "2026-09-30", None),
    ]
    assert [r.title for r in small.records[3:]] == ["A link�[1m", "flat"]
    assert [r.authors for r in small.records[3:]] == [("Ada Lovelace", "@bob"), ("@eve",)]
    assert all(r.title != "ANVIL2" for r in small.records[:3])  # the catalogue has words for them


def test_the_arms_of_a_folder_are_told_apart(small: History) -> None:
    rows = {row.number: row for row in audit(small, load_track(SMALL_TRACK))}
    numbers = {n: (row.group, row.runs, row.baseline_runs) for n, row in rows.items()}
    assert numbers == {
        90: ("folder candidate_h100", 4, 0),
        91: ("folder pr-344-1300", 1, 0),
        92: ("folder this_pr", 3, 2),
        93: ("arm candidate", 5, 1),
        94: ("arm runs", 3, 2),
    }
    assert (rows[92].val_loss, rows[92].time_s) == (pytest.approx(3.277), pytest.approx(39.901))
    assert rows[92].baseline_time_s == pytest.approx(73.9005)
    assert rows[92].p_value == pytest.approx(0.0607, abs=5e-4)  # t = 2.598 with 2 degrees of freedom
    assert (rows[93].val_loss, rows[93].time_s) == (pytest.approx(3.272), pytest.approx(36.002))
    assert (rows[94].val_loss, rows[94].baseline_val_loss) == (pytest.approx(3.272), pytest.approx(3.27915))
    assert "link-missing" in {flag.id for flag in rows[93].flags}  # its table has a dash, the folder an underscore
    assert not [run for run in small.runs if run.val_loss is None]


def test_source_and_its_change_stand_beside_the_time(small: History, tmp_path: Path, records: Path) -> None:
    rows = imported_standings(load_track(SMALL_TRACK))
    sizes = {row.place: (row.source_files, row.source_lines, row.source_lines_change) for row in rows}
    assert sizes == {90: (1, 1, None), 91: (1, 1, 0), 92: (4, 6, 5), 93: (1, 1, -5), 94: (1, 1, 0)}
    assert rows[2].source_bytes == sum(map(len, split_source(PACKAGE.encode()).values()))


@pytest.fixture
def records(small: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A records folder that has only this history."""
    folder = tmp_path / "records" / SMALL_TRACK
    folder.mkdir(parents=True)
    track = layout.track_file(SMALL_TRACK).read_bytes()
    monkeypatch.setenv("SPEEDRUN_RECORDS", str(folder.parent))
    (folder / layout.TRACK_FILE).write_bytes(track)
    write_history(folder / layout.HISTORY_FILE, small)
    assert read_history(SMALL_TRACK) == small
    return folder


def test_the_plan_for_row_92_lists_every_file_of_its_package(
    tree: Path, records: Path, call: Callable[..., Result], meets_schema: Callable[[str, Any], None]
) -> None:
    shown = call(reproduce, f"{SMALL_TRACK}/92", "--checkout", str(tree), "--dry-run", "--json")
    plan = json.loads(shown.stdout)
    meets_schema("reproduction-plan-output", plan)
    files = split_source(PACKAGE.encode())
    assert plan["source"] == {name: len(text) for name, text in files.items()}
    assert list(files) == ["train_gpt.py", "triton_kernels.py", "track_1_short/model/gpt.py", "index/src/lib.rs"]
    assert not any("the same source" in sentence for sentence in plan["missing"])


def test_a_log_that_validates_only_at_its_end_is_not_odd() -> None:
    for with_training in (True, False):
        log = read_log([a_log(3.27, 40_000).encode()], with_training=with_training)
        assert [run.last.val_loss for run in log.runs] == [3.27]
        assert log.oddities == ()
    bare = a_log(3.27, 40_000).replace(" train_time:", " nothing:", 1)
    lines = [line for line in bare.splitlines() if "/1200 train_time" not in line]
    assert {odd.id for odd in read_log(["\n".join(lines).encode()]).oddities} == {"starts-late"}


# ------------------------------------------------------------------------------------------------ sources


def test_a_package_comes_apart_and_is_counted() -> None:
    files = split_source(PACKAGE.encode())
    assert files["track_1_short/model/gpt.py"] == b"class GPT:\n\n    pass\n"
    size = size_of(PACKAGE.encode())
    assert (size.files, size.lines) == (4, 6)
    assert size_of(b"") == size_of(b" \n") and size_of(b"").files == 0


@pytest.mark.parametrize(
    "name", ["../x.py", "/etc/x.py", "a/../x.py", ".git/x.py", "a//x.py", "a/.x.py", "x", "C:\\x.py", "a b.py", "-x/"]
)
def test_names_that_lead_elsewhere_are_no_files(name: str) -> None:
    banner = "-" * 40
    assert list(split_source(f"print(1)\n{banner}\n# {name}\n{banner}\npass\n".encode())) == [MAIN]


def test_a_name_that_comes_twice_is_its_first_text_and_the_entry_is_the_script() -> None:
    source = package(main="", a__train_gpt_dot_py="nested", train_gpt_dot_py="first", x_dot_py="x")
    again = source + package(train_gpt_dot_py="second")
    files = split_source(again.encode())
    assert files["train_gpt.py"] == b"first\n"
    assert entry_of(files) == "train_gpt.py"
    assert entry_of({"b.py": b"", "a.py": b""}) == "b.py"


@given(st.text(alphabet="-#/ .\nabpyrs", max_size=300))
def test_any_source_comes_apart_into_files_inside_a_folder(text: str) -> None:
    for name in split_source(text.encode()):
        path = Path(name)
        assert not path.is_absolute()
        assert not any(part.startswith(".") for part in path.parts)


# ------------------------------------------------------------------------------------------- tables, merges


def test_the_description_is_a_title_in_any_table() -> None:
    (rows,) = timed_rows(
        "7 | 3 minutes | **Bold** [two](http://x/y) words `z` | 01/02/26 | [log](a.txt) | A, and B, -\n"
    )
    assert (rows[0].title, rows[0].names, rows[0].link) == ("Bold two words z", ("A", "B"), "a.txt")


@given(st.text(alphabet="|[]()x*`\\@,/ 1.\x1b\u202e", max_size=300))
def test_no_row_gives_a_title_that_commands(text: str) -> None:
    for rows in timed_rows(f"1 | 3 minutes | {text} | 01/02/26 | b | c\n"):
        for row in rows:
            assert row.title.isprintable() or not row.title
            assert len(row.title) <= 120


def test_merge_days_follow_the_log_and_the_pull_request(tmp_path: Path) -> None:
    master, place = "refs/heads/master", f"{SMALL}/2026-08-01_A"
    log, other = a_log(3.27, 1000), a_log(3.26, 1001)
    tree = make_checkout(
        tmp_path / "tree",
        [
            Commit(master, {"records/080126_A/x.txt": log}, subject="early", day=3),
            Commit(master, {f"{place}/x.txt": log}, on=master, day=9, removed=("records/080126_A/x.txt",)),
            Commit(master, {f"{SMALL}/B/y.txt": other}, on=master, subject="Merge pull request #12 from a/b", day=20),
            Commit(master, {"c": "c"}, on=master, subject="later (#12)", day=30),
        ],
    )
    merges = read_merges(Checkout(tree))
    assert merges.day_of(None, f"{place}/x.txt") == date(2026, 8, 4)  # before it was moved
    assert merges.day_of(None, place) == date(2026, 8, 4)
    assert merges.day_of(12, f"{place}/x.txt") == date(2026, 8, 21)
    assert merges.day_of(99, f"{SMALL}/B") == date(2026, 8, 21)
    assert merges.day_of(None, "records/track_1_short/nothing") is None
    assert merges.day_of(None, None) is None


def test_a_history_that_was_cut_says_no_day(tree: Path, tmp_path: Path) -> None:
    import subprocess

    shallow = ["git", "clone", "-q", "--depth=1", f"file://{tree}", str(tmp_path / "shallow")]
    subprocess.run(shallow, check=True, capture_output=True)
    found = import_history(Checkout(tmp_path / "shallow"))[0]
    assert {record.merged for record in found.records} == {None}
    assert len(found.records) == 5


# ----------------------------------------------------------------------------------- rows typed before a checkout


def test_typed_rows_follow_the_last_one_or_are_not_there() -> None:
    assert [row.number for row in newer_rows(SMALL_TRACK, 89)] == [90, 91, 92]
    assert newer_rows(SMALL_TRACK, 88) == []
    assert newer_rows(SMALL_TRACK, 92) == []
    assert newer_rows("optimizer-steps", 46) == []


def test_a_checkout_with_the_rows_does_not_read_the_typed_ones(small: History) -> None:
    assert small.heads == {}
    assert all(record.stated is None for record in small.records)
    assert encode(small).startswith(b'{\n"schema_version": 3,\n')


def test_a_checkout_that_ends_at_row_89_gets_them_as_typed(tmp_path: Path) -> None:
    table = f"| 89 | 1.23 minutes | x | 07/17/26 | [l]({SMALL}/2026-07-17_X/a.txt) | @a |"
    files = base(table, {f"{SMALL}/2026-07-17_X/a.txt": a_log(3.2784, 73_800)})
    log = a_log(3.2744, 69_993, 1315)
    head = {f"{SMALL}/2026-08-03_FP8MLPBackwardPackedQKV/candidate_h100/{i}.txt": log + f"# {i}\n" for i in range(1)}
    tree = make_checkout(
        tmp_path / "tree",
        [Commit("refs/heads/master", files), Commit("refs/pull/344/head", head, on="refs/heads/master", day=2)],
    )
    small = import_history(Checkout(tree))[0]
    assert [(record.number, len(record.runs)) for record in small.records] == [(89, 1), (90, 1), (91, 0), (92, 17)]
    rows = {row.number: row for row in audit(small, load_track(SMALL_TRACK))}
    assert rows[92].val_loss == pytest.approx(3.2773)
    assert rows[92].time_s == pytest.approx(39.91047, abs=1e-5)
    assert (rows[92].baseline_runs, rows[92].baseline_time_s) == (9, pytest.approx(73.88911, abs=1e-5))
    assert {flag.id for flag in rows[92].flags} == {"runs-differ"}  # 17 of 18 logs are left
    assert {flag.id for flag in rows[91].flags} >= {"no-logs"}
    assert (
        small.commit_of(f"{SMALL}/2026-08-03_FP8MLPBackwardPackedQKV/x")
        == small.heads[f"{SMALL}/2026-08-03_FP8MLPBackwardPackedQKV"]
    )
    assert small.commit_of("README.md") == small.source.commit


# --------------------------------------------------------------------------------------------- stated numbers


def test_a_readme_gives_its_numbers_and_not_those_of_something_else() -> None:
    text = """# Faster
    An overhead of 3.5 s is gone; the timing test gives p = 1e-10. All of it was a long story of many words, so that
    what follows is far away from it, and about something else: what matters is whether the target is reached.
    | Mean | **1315** | **3.274725** | **70.094 s (1.1682 min)** |
    The t-test of the losses against 3.28 gave **p = 0.0016** over n = 4 runs, in 1,315 total steps.
    """
    found = read_stated([text], 3.28, counts_steps=False, about_s=70.2)
    assert found is not None
    assert (found.time_s, found.val_loss, found.p_value) == (70.094, 3.274725, 0.0016)
    assert (found.runs, found.steps) == (4, 1315)
    assert read_stated(["nothing at all"], 3.28, counts_steps=False) is None
    minutes = read_stated(["a record of 1.05 minutes"], 3.28, counts_steps=False)
    assert minutes is not None and minutes.time_s == 63.0


@given(st.text(alphabet="mean pval=<*|. 0123456789\nrunsteploch", max_size=400))
def test_no_readme_states_what_no_run_can_have(text: str) -> None:
    found = read_stated([text], 3.28, counts_steps=False)
    if found is not None:
        assert found.p_value is None or 0 < found.p_value < 1
        assert found.val_loss is None or abs(found.val_loss - 3.28) < 0.2
        assert found.time_s is None or found.time_s >= 20
        assert found.runs is None or 0 < found.runs <= 300


@pytest.mark.parametrize("piece", ["mean ", "p = ", "1,", "n = ", "| p |", "3.27", "mean val_loss ", "1 a "])
def test_no_readme_makes_a_number_explode(piece: str) -> None:
    read_stated([piece * (10**6 // len(piece))], 3.28, counts_steps=False)

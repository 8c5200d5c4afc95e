"""The import: a small archive of the upstream shape, and the whole of it where a checkout is at hand.

MODDED_NANOGPT=PATH (a work tree or bare repository) runs the last tests; they skip without it.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.formats import layout
from leaderboard.upstream.checkout import Checkout
from leaderboard.upstream.claims import quoted_losses, step_rows, timed_rows
from leaderboard.upstream.history import History, encode, read_history
from leaderboard.upstream.importing import import_history
from tests.leaderboard.upstream.test_checkout import git

ROOT = Path(__file__).resolve().parents[3]
SNAPSHOT = "f411b3d346aa52d3504324ca93c230fd84c6c07f"
SMALL, MEDIUM, STEPS = "records/track_1_short", "records/track_2_medium", "records/track_3_optimization"
README = f"""# sample
| # | Record time | Description | Date | Log | Contributors |
| - | - | - | - | - | - |
1 | 45 minutes | [first](https://example.org/1) | 05/28/24 | [log]({SMALL}/2024-05-28_First/a.txt) | @ada, others
2 | 1.5 minutes* | second | 06/01/24 | [log]({SMALL}/2024-06-01_Gone/z.txt),[PR](https://example.org/pull/7) | @bob.by
3 | 80.5 seconds | nothing | 06/02/24 | none | -

1. not | a row
| # | Record time |
1 | 5.8 hours | medium | 05/28/24 | [log]({MEDIUM}/2025_M/m.txt) | @ada
"""
STEPS_README = """| # | Steps | Evidence | Description | Date | Log | Contributors |
| - | - | - | - | - | - | - |
| 1 | 20(!) | 3.9000 (n=2)✓ | w | 2026/04/26 | [log](results/20260426_x/a.txt) | [P](http://x/pull/9) [@eve](http://x) |
| 2 | 30 | 3.5000 (n=1)Ⓧ | words | 2026/04/27 | [log](results/shared.txt) | Someone |
"""
SEPARATOR = "=" * 100 + "\n"


def a_log(final: float, script: str = "print(1)", seconds: bool = False, steps: int = 30) -> str:
    lines = []
    for step in range(0, 31, 10):
        loss, ms = final + (30 - step) / 100, step * 1000
        time = f"{ms / 1000:.3f}s" if seconds else f"{ms}ms"
        if step <= steps:
            lines.append(f"step:{step}/30 val_loss:{loss:.4f} train_time:{time} step_avg:100.00ms")
    return f"{script}\n{SEPARATOR}Running Python 3.12\n{SEPARATOR}" + "\n".join(lines) + "\n"


def archive(root: Path) -> Path:
    files = {
        "README.md": README,
        f"{STEPS}/README.md": STEPS_README,
        "train_gpt.py": "print(1)   \n",
        f"{SMALL}/2024-05-28_First/a.txt": a_log(3.27),
        f"{SMALL}/2024-05-28_First/b.txt": a_log(3.28),
        f"{SMALL}/2024-05-28_First/copy.txt": a_log(3.27),
        f"{SMALL}/2024-05-28_First/cut.txt": a_log(3.26, steps=20),
        f"{SMALL}/2024-05-28_First/other.txt": a_log(3.20, script="print(2)"),
        f"{SMALL}/2024-05-28_First/requirements.txt": "torch\n",
        f"{SMALL}/2024-05-28_First/README.md": "losses: [3.2700, 3.2800, 3.2750, 3.2790]\n",
        f"{SMALL}/2024-06-01_Found/z.txt": a_log(3.25),
        f"{MEDIUM}/2025_M/m.txt": a_log(2.91),
        f"{STEPS}/results/20260426_x/a.txt": a_log(3.8, seconds=True) + a_log(3.9, seconds=True).split(SEPARATOR)[-1],
        f"{STEPS}/results/20260426_x/stdout.txt": a_log(3.8, seconds=True).split(SEPARATOR)[-1],
        f"{STEPS}/results/shared.txt": a_log(3.5, seconds=True),
        f"{STEPS}/results/another.txt": a_log(3.6, seconds=True),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "archive")
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def histories(tree: Path) -> list[History]:
    return import_history(Checkout(tree))


def test_claims_come_from_the_tables(histories: list[History]) -> None:
    small, medium, steps = histories
    assert [record.claim.train_time_s for record in small.records] == [2700.0, 90.0, 80.5]
    assert [record.claim.train_time_s for record in medium.records] == [20880.0]
    assert [(record.claim.steps, record.official) for record in steps.records] == [(20, True), (30, False)]
    assert small.records[1].pull_request == 7
    assert str(small.records[1].date) == "2024-06-01"


def test_runs_of_a_record_share_its_script_are_whole_and_count_once(histories: list[History]) -> None:
    record = histories[0].records[0]
    assert [histories[0].runs[i].file for i in record.runs] == ["a.txt", "b.txt"]
    assert record.left_out == 1
    assert record.quoted[0].runs == 4
    assert [run.copy_of for run in histories[0].runs if run.file == "copy.txt"] == [0]
    scripts = [histories[0].scripts[histories[0].runs[i].script].committed for i in (0, 4)]
    assert scripts == [True, False]


def test_a_dead_link_leads_to_the_log_of_that_name(histories: list[History]) -> None:
    record = histories[0].records[1]
    assert record.link is not None
    assert not record.link.exists
    assert record.group == "script"
    assert [histories[0].path(histories[0].runs[i]) for i in record.link.runs][-1] == f"{SMALL}/2024-06-01_Found/z.txt"
    assert histories[0].records[2].link is None


def test_the_steps_track_takes_the_claimed_step_and_drops_the_stdout_copy(histories: list[History]) -> None:
    first, second = histories[2].records
    assert first.losses == (3.9, 4.0)
    assert len(first.runs) == 2
    assert second.losses == (3.5,)


def test_the_same_commit_gives_the_same_bytes(tree: Path, histories: list[History], tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(tree), "bare")
    for root in (tree, tmp_path / "bare"):
        assert [encode(h) for h in import_history(Checkout(root))] == [encode(h) for h in histories]


def test_a_folder_without_history_gives_the_same_runs(tree: Path, histories: list[History], tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", str(tree), str(tmp_path / "folder")], check=True)
    subprocess.run(["rm", "-rf", str(tmp_path / "folder" / ".git")], check=True)
    again = import_history(Checkout(tmp_path / "folder"))
    assert [h.runs for h in again] == [h.runs for h in histories]
    assert {script.committed for h in again for script in h.scripts} == {None}


def speedrun(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "import", *argv]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_the_command_writes_only_where_it_is_told(
    tree: Path, histories: list[History], tmp_path: Path, meets_schema: Callable[[str, Any], None]
) -> None:
    before = {track: layout.history_file(track).read_bytes() for track in ("gpt2-small-8xh100", "optimizer-steps")}
    dry = speedrun("modded-nanogpt", str(tree), "--out", str(tmp_path), "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "would go to" in dry.stdout
    assert list(tmp_path.iterdir()) == []
    done = speedrun("modded-nanogpt", str(tree), "--out", str(tmp_path), "--json")
    assert [row["records"] for row in json.loads(done.stdout)["tracks"]] == [3, 1, 2]
    meets_schema("import-output", json.loads(done.stdout))
    for history in histories:
        assert (tmp_path / history.track / layout.HISTORY_FILE).read_bytes() == encode(history)
    assert {track: layout.history_file(track).read_bytes() for track in before} == before


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("modded-nanogpt", "nowhere"), "found none at nowhere"),
        (("imagenet", "."), "found 'imagenet'"),
        (("modded-nanogpt", str(ROOT / "benchmarks")), "expected"),
    ],
)
def test_a_mistake_is_one_sentence(argv: tuple[str, ...], expected: str) -> None:
    shown = speedrun(*argv)
    assert shown.returncode == 2
    assert expected in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


def test_a_checkout_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / STEPS).mkdir(parents=True)
    (tmp_path / "README.md").write_text("no tables here\n")
    (tmp_path / STEPS / "README.md").write_text("")
    with pytest.raises(UserError, match="expected the 3 tables"):
        import_history(Checkout(tmp_path))


@given(st.text(alphabet="|[]()1234567890. @minutesnagohrx\n-", max_size=400))
def test_any_table_will_do(text: str) -> None:
    timed_rows(text)
    step_rows(text, "x/")
    quoted_losses(text, 3.28)


@pytest.mark.parametrize("piece", ["[", "1 | ", "[a](", "1 | 45 minutes | [", "[3.28, "])
def test_no_readme_makes_an_expression_explode(piece: str) -> None:
    text = piece * (10**6 // len(piece))
    timed_rows(text)
    step_rows(text, "x/")
    quoted_losses(text, 3.28)


# --- the whole archive, where it is at hand ---

CHECKOUT = os.environ.get("MODDED_NANOGPT", "")
whole = pytest.mark.skipif(not CHECKOUT, reason="needs a checkout of modded-nanogpt, which MODDED_NANOGPT names")


@pytest.fixture(scope="module")
def imported() -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = import_history(Checkout(Path(CHECKOUT), SNAPSHOT))
    return {"histories": found, "grown_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before}


@whole
def test_the_committed_history_is_what_the_checkout_gives(imported: dict[str, Any]) -> None:
    if not {344, 350} <= {head.number for head in Checkout(Path(CHECKOUT)).pull_heads()}:
        pytest.skip("needs a checkout of modded-nanogpt with the heads of pull requests 344 and 350")
    for history in imported["histories"]:
        assert encode(history) == layout.history_file(history.track).read_bytes()
        assert read_history(history.track) == history


@whole
def test_the_import_is_bounded_in_memory(imported: dict[str, Any]) -> None:
    assert imported["grown_kib"] < 200 * 1024  # the logs are 260 MB

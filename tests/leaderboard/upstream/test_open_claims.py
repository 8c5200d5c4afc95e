"""Open claims: twenty pull requests of a checkout made here, and the real ones where a checkout is at hand."""

import csv
import io
import json
import os
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from harness.errors import RecordError, UserError
from harness.formats import layout
from harness.formats.track import load_track
from leaderboard.board.board import read_board
from leaderboard.cli.audit import audit as audit_command
from leaderboard.cli.importing import import_
from leaderboard.cli.leaderboard import leaderboard
from leaderboard.site import addresses
from leaderboard.site.building import build
from leaderboard.site.claims_page import claims_page
from leaderboard.site.rendering import Renderer
from leaderboard.site.track_data import read_collection
from leaderboard.upstream.checkout import Checkout
from leaderboard.upstream.claim_rows import ClaimRow, claim_rows
from leaderboard.upstream.history import read_history, write_history
from leaderboard.upstream.importing import import_all
from leaderboard.upstream.open_claims import ClaimBoard, encode_claims, read_claims, write_claims
from leaderboard.upstream.pull_requests import import_claims
from tests.leaderboard.upstream.made_checkouts import (
    SMALL,
    STEPS,
    Commit,
    a_log,
    a_steps_log,
    base,
    make_checkout,
    package,
)

TRACK = "gpt2-small-8xh100"
MASTER = "refs/heads/master"
TABLE = f"| 7 | 1.2 minutes | x | 07/17/26 | [l]({SMALL}/2026-07-17_X/a.txt) | @a |"
OLD = "print('old')\n"
COUNT = 20
TYPED = 7  # claims without a checkout, of this track


def losses(number: int) -> list[float]:
    return [round(3.2700 + number / 10_000 + i / 1_000, 4) for i in range(2 + number % 4)]


def times_ms(number: int) -> list[int]:
    return [60_000 + 100 * number + 7 * i for i in range(2 + number % 4)]


def readme(number: int) -> str:
    mean_s = statistics.fmean(times_ms(number)) / 1000
    loss = statistics.fmean(losses(number))
    return (
        f"# Claim {number}\nBuilds on PR #{number + 400} and record 7.\n\n"
        f"Mean val_loss {loss:.6f}, mean {mean_s:.3f} s over {len(losses(number))} runs; p = 0.004 that the "
        "loss misses 3.28.\n"
    )


def head(number: int) -> dict[str, str]:
    """Arms in folders, or flat with two scripts; a README that states them."""
    place, flat = f"{SMALL}/2026-08-{number:02}_Claim{number}", number % 3 == 0
    mine, theirs = ("", "") if flat else ("this_pr/", "baseline/")
    script = package(main=f"print({number})\n", model__a_dot_py="a = 1\n")
    pairs = zip(losses(number), times_ms(number), strict=True)
    files = {f"{place}/{mine}n{i}.txt": a_log(loss, ms, script=script) for i, (loss, ms) in enumerate(pairs)}
    files |= {f"{place}/{theirs}b{i}.txt": a_log(3.279, 72_000 + i, script=OLD) for i in range(2)}
    return files | {f"{place}/README.md": readme(number), "train_gpt.py": f"print({number})\n"}


def archive(root: Path) -> Path:
    files = base(TABLE, {"train_gpt.py": OLD, f"{SMALL}/2026-07-17_X/a.txt": a_log(3.2784, 72_000, script=OLD)})
    files[f"{SMALL}/2026-07-01_Forgotten/a.txt"] = a_log(3.2799, 80_000, script="print('forgotten')")
    commits = [Commit(MASTER, files)]
    for number in range(1, COUNT + 1):
        ref = f"refs/pull/{number + 500}/head"
        commits.append(Commit(ref, head(number), on=MASTER, day=number, author=f"Author {number}\x1b[31m"))
        if number % 2:
            commits.append(Commit(f"refs/pull/{number + 500}/merge", {}, on=ref, day=number))
    steps = {f"{STEPS}/results/20260801_fewer_2900/s{i}.txt": a_steps_log(3.2780, 2900, 3000) for i in range(1)}
    steps |= {
        f"{STEPS}/results/20260801_fewer_2900/s{i}.txt": a_steps_log(3.278 + i / 1e4, 2900, 3000) for i in range(4)
    }
    merged = {f"{SMALL}/2026-07-17_X/a.txt": a_log(3.2784, 72_000, script=OLD)}
    commits += [
        Commit("refs/pull/600/head", steps, on=MASTER, day=30),
        Commit("refs/pull/601/head", {"train_gpt.py": "print('code only')\n"}, on=MASTER),
        Commit("refs/pull/602/head", {f"{SMALL}/2026-07-17_Moved/a.txt": next(iter(merged.values()))}, on=MASTER),
        Commit("refs/pull/603/head", {f"{SMALL}/2026-08-09_Words/README.md": "mean 44.5 s, no log"}, on=MASTER),
        Commit("refs/pull/604/head", {f"{SMALL}/2026-08-09_Empty/README.md": "nothing"}, on=MASTER),
    ]
    return make_checkout(root, commits)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive(tmp_path_factory.mktemp("claims") / "tree")


@pytest.fixture(scope="module")
def boards(tree: Path) -> list[ClaimBoard]:
    checkout = Checkout(tree)
    return import_claims(checkout, import_all(checkout))


@pytest.fixture(scope="module")
def rows(tree: Path, boards: list[ClaimBoard]) -> dict[str, ClaimRow]:
    history = import_all(Checkout(tree)).histories[0]
    return {row.key: row for row in claim_rows(boards[0], load_track(TRACK), history)}


def test_twenty_claims_come_out_whole(rows: dict[str, ClaimRow]) -> None:
    for number in range(1, COUNT + 1):
        row = rows[str(number + 500)]
        assert row.gaps == (), row.key
        assert (row.runs, row.claimed_runs) == (len(losses(number)), len(losses(number)))
        assert row.val_loss == pytest.approx(statistics.fmean(losses(number)))
        assert row.claimed_val_loss == pytest.approx(row.val_loss, abs=1e-6)
        assert row.time_s == pytest.approx(statistics.fmean(times_ms(number)) / 1000)
        assert row.claimed_time_s == pytest.approx(row.time_s, abs=1e-3)
        assert (row.baseline_runs, row.baseline_time_s) == (2, 72.0005)
        assert row.ratio == pytest.approx((row.time_s or 0) / 72.0005)
        assert row.claimed_p_value == 0.004
        assert row.parents == (f"PR {number + 400}", "row 7")
        assert row.status == ("open" if number % 2 else "unmerged")
        assert (row.source_files, row.source_lines) == (2, 2)
        assert row.title == f"Claim{number}"
        assert row.beats_record is True  # of 72 s
        assert row.authors[0].isprintable()
        assert set(row.flags) <= {"script-not-committed", "p-not-below-alpha"}


def test_golden_numbers_of_one_claim(rows: dict[str, ClaimRow]) -> None:
    row = rows[
        "507"
    ]  # 3.2707, 3.2717, 3.2727, 3.2737, 3.2747; t = -9.86 with 4 degrees of freedom (t / sd = 0.0016 / sqrt 5)
    assert row.val_loss == pytest.approx(3.2727)
    assert row.p_value == pytest.approx(0.000250, abs=3e-5)
    assert row.time_s == pytest.approx(60.714)
    assert str(row.date) == "2026-08-08"


def test_what_is_no_claim_is_not_there_and_what_is_thin_says_so(rows: dict[str, ClaimRow]) -> None:
    assert len(rows) == COUNT + 2 + TYPED
    assert not {"601", "602", "604"} & rows.keys()
    assert (rows["603"].claimed_time_s, rows["603"].flags) == (44.5, ("claimed-only",))
    assert set(rows["603"].gaps) == {"how many runs", "a loss", "a p"}
    assert rows["2026-07-01_Forgotten"].status == "not in the table"
    assert rows["367"].flags == ("claimed-only",)
    assert next(iter(rows)) == "367"  # the fastest first, those without a number last


def test_claims_of_steps_take_the_step_of_their_folder(boards: list[ClaimBoard]) -> None:
    (row,) = [row for row in claim_rows(boards[2], load_track("optimizer-steps"), None) if row.key == "600"]
    assert (row.claimed_steps, row.runs, row.gaps) == (2900, 4, ())
    assert row.val_loss == pytest.approx(3.27815)
    assert "truncated-run" not in row.flags


def test_a_claim_is_never_a_record(tree: Path, boards: list[ClaimBoard], world: Path) -> None:
    history = read_history(TRACK)
    assert history is not None
    claimed = {claim.folder for claim in boards[0].claims if claim.folder}
    assert not claimed & {record.folder for record in history.records}
    assert all(not record.official for record in boards[0].as_history().records)
    assert {row.name for row in read_board(load_track(TRACK)).rows} == {"modded-nanogpt 7"}


@pytest.fixture
def world(tree: Path, boards: list[ClaimBoard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A records folder with what was imported."""
    track, history = layout.track_file(TRACK).read_bytes(), import_all(Checkout(tree)).histories[0]
    folder = tmp_path / "records" / TRACK
    folder.mkdir(parents=True)
    monkeypatch.setenv("SPEEDRUN_RECORDS", str(folder.parent))
    monkeypatch.setenv("SPEEDRUN_RUNS", str(tmp_path / "runs"))
    (folder / layout.TRACK_FILE).write_bytes(track)
    write_history(folder / layout.HISTORY_FILE, history)
    write_claims(folder / layout.CLAIMS_FILE, boards[0])
    return folder


def test_what_was_written_is_read_and_closed(world: Path, boards: list[ClaimBoard]) -> None:
    assert read_claims(TRACK) == boards[0]
    place = world / layout.CLAIMS_FILE
    assert place.read_bytes() == encode_claims(boards[0])
    good = json.loads(place.read_bytes())
    broken = {
        "surprise": {**good, "surprise": 1},
        "expected indices": {**good, "claims": [{**good["claims"][0], "runs": [10**6]}]},
        "schema_version": {**good, "schema_version": 2},
    }
    for expected, value in broken.items():
        place.write_text(json.dumps(value))
        with pytest.raises(RecordError, match=expected):
            read_claims(TRACK)
    place.unlink()
    assert read_claims(TRACK) is None


def test_the_same_checkout_gives_the_same_bytes(tree: Path, boards: list[ClaimBoard]) -> None:
    again = import_claims(Checkout(tree), import_all(Checkout(tree)))
    assert [encode_claims(board) for board in again] == [encode_claims(board) for board in boards]


def test_the_board_in_every_form(
    world: Path, call: Callable[..., Result], meets_schema: Callable[[str, Any], None]
) -> None:
    for width in (60, 80, 120, 160):
        text = call(leaderboard, "--track", TRACK, "--claims", width=width).stdout
        drawn = [line for line in text.splitlines() if not line.endswith(".")]  # sentences are not wrapped here
        assert max(map(len, drawn)) <= width
        assert "none a record" in text
    found = json.loads(call(leaderboard, "--track", TRACK, "--claims", "--json").stdout)
    meets_schema("claims-output", found)
    assert len(found["claims"]) == COUNT + 2 + TYPED
    table = list(csv.DictReader(io.StringIO(call(leaderboard, "--track", TRACK, "--claims", "--format", "csv").stdout)))
    assert len(table) == COUNT + 2 + TYPED
    assert "| &#35;501 |" in call(leaderboard, "--track", TRACK, "--claims", "--format", "md").stdout
    with pytest.raises(UserError, match="with --claims"):
        call(leaderboard, "--track", TRACK, "--claims", "--format", "parquet")
    said = call(audit_command, "--track", TRACK, "--claims", "--record", "603").stdout
    assert "what its authors state" in said
    (world / layout.CLAIMS_FILE).unlink()
    assert "speedrun import" in call(leaderboard, "--track", TRACK, "--claims").stdout
    with pytest.raises(UserError, match="expected imported claims"):
        call(audit_command, "--track", TRACK, "--claims")


def test_the_page_of_claims_shows_each_and_links_to_it(world: Path, tmp_path: Path) -> None:
    collection = read_collection(world)
    page = claims_page(collection)
    assert page is not None
    text = Renderer().render(page)
    text = text if isinstance(text, str) else text.decode()
    assert f"{COUNT + 2 + TYPED} claims. Of {COUNT} a time or steps" in text
    assert 'href="https://github.com/KellerJordan/modded-nanogpt/pull/501"' in text
    assert "Exact-match retrieval" in text
    assert "\x1b" not in text
    assert [found.record.number for found in collection.imported] == [7]
    build(tmp_path / "site")
    assert "open claims</a> are no records" in (tmp_path / "site" / addresses.track(TRACK)).read_text()
    assert (tmp_path / "site" / addresses.claims(TRACK)).is_file()
    assert "Author 1" not in (tmp_path / "site" / addresses.AUTHORS).read_text()  # claims bring nobody credit
    (world / layout.CLAIMS_FILE).write_text("{}")
    assert "claims.json" in read_collection(world).problem
    (world / layout.CLAIMS_FILE).unlink()
    assert claims_page(read_collection(world)) is None


def test_the_import_writes_both_files(
    tree: Path, tmp_path: Path, call: Callable[..., Result], meets_schema: Callable[[str, Any], None]
) -> None:
    done = call(import_, "modded-nanogpt", str(tree), "--out", str(tmp_path), "--json")
    found = json.loads(done.stdout)
    meets_schema("import-output", found)
    assert [track["claims_read"] for track in found["tracks"]] == [COUNT + 2, 0, 1]
    assert found["tracks"][0]["claims_whole"] == COUNT
    assert (tmp_path / TRACK / layout.CLAIMS_FILE).is_file()


def test_a_head_that_lost_a_log_does_not_look_whole(tmp_path: Path) -> None:

    tree = archive(tmp_path / "tree")
    path = f"{SMALL}/2026-08-02_Claim2/this_pr/n0.txt"
    git = ["git", "-C", str(tree)]
    name = subprocess.run([*git, "rev-parse", f"refs/pull/502/head:{path}"], capture_output=True, text=True, check=True)
    subprocess.run([*git, "unpack-objects", "-q"], input=_pack(tree), check=True)
    blob = name.stdout.strip()
    (tree / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    checkout = Checkout(tree)
    board = import_claims(checkout, import_all(checkout))[0]
    assert [(lost.path, lost.why) for lost in board.lost] == [(path, "the repository does not have it")]
    row = next(row for row in claim_rows(board, load_track(TRACK), None) if row.key == "502")
    assert "all of its files" in row.gaps
    assert {"lost-files", "runs-differ"} <= set(row.flags)


def test_heads_are_found_wherever_a_fetch_puts_them(tmp_path: Path) -> None:
    names = {
        "refs/pull/3/head": 3, "refs/pull/3/merge": None, "refs/remotes/origin/pr/4": 4,
        "refs/remotes/up/pull/5/head": 5, "refs/heads/pull/6/head": None, "refs/pull/x/head": None,
        "refs/pull/7/more": None, "refs/tags/pull/8/head": None,
    }  # fmt: skip
    tree = make_checkout(
        tmp_path / "tree", [Commit(MASTER, {"a": "a"}), *(Commit(name, {"b": name}) for name in names)]
    )
    found = Checkout(tree).pull_heads()
    assert [(head.number, head.has_merge) for head in found] == [(3, True), (4, False), (5, False)]


def test_heads_that_are_broken_are_named_and_the_others_read(tmp_path: Path) -> None:
    tree = archive(tmp_path / "tree")
    refs = tree / ".git" / "packed-refs"
    kept = refs.read_text() if refs.exists() else ""
    blob = subprocess.run(
        ["git", "-C", str(tree), "rev-parse", "HEAD:README.md"], capture_output=True, text=True
    ).stdout
    refs.write_text(f"{kept or '# pack-refs with: peeled fully-peeled sorted'}\n{'1' * 40} refs/pull/801/head\n")
    (tree / ".git" / "refs" / "pull" / "802").mkdir(parents=True)
    (tree / ".git" / "refs" / "pull" / "802" / "head").write_text(blob)
    checkout = Checkout(tree)
    board = import_claims(checkout, import_all(checkout))[0]
    assert sorted(lost.path for lost in board.lost) == ["refs/pull/801/head", "refs/pull/802/head"]
    assert len(board.claims) == COUNT + 2 + TYPED


def _pack(tree: Path) -> bytes:
    """The one pack of a repository, taken out of it, to be unpacked into single objects."""
    folder = tree / ".git" / "objects" / "pack"
    content = next(folder.glob("*.pack")).read_bytes()
    for left in folder.glob("*"):
        left.unlink()
    return content


# --- the real pull requests, where they are at hand ---

CHECKOUT = os.environ.get("MODDED_NANOGPT", "")


@pytest.mark.skipif(not CHECKOUT, reason="needs a checkout of modded-nanogpt, which MODDED_NANOGPT names")
def test_the_real_pull_requests_are_read() -> None:
    checkout = Checkout(Path(CHECKOUT))
    if len(checkout.pull_heads()) < 200:
        pytest.skip("needs a checkout of modded-nanogpt with its pull requests: refs/pull/*/head")
    boards = import_claims(checkout, import_all(checkout))
    for board in boards:
        assert encode_claims(board) == layout.claims_file(board.track).read_bytes()

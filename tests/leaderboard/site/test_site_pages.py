"""The web site without a browser: what is written when, text made harmless, diffs, the feed, the data."""

import csv
import http.client
import json
import shutil
import string
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from data import printing
from harness.errors import UserError
from harness.formats import layout
from harness.records.standings import Standing
from harness.records.submitting import Claims, draft, write
from leaderboard.cli import site as site_command
from leaderboard.site import (
    addresses,
    contributors,
    diffs,
    feed,
    highlighting,
    prose,
    serving,
    sparklines,
)
from leaderboard.site.building import Built, build
from leaderboard.site.charts import ChartPoint, progress
from leaderboard.site.rows import BoardRow
from leaderboard.site.tables import cell, chunk_script

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "tests" / "tracks" / "tiny" / "track.toml"
Make = Callable[..., Path]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, make_bundle: Make) -> Path:
    """records/ and site/, built once: the tiny track with one record, and a track with an imported history."""
    root = tmp_path_factory.mktemp("prepared")
    folder = root / "records"
    (folder / "tiny").mkdir(parents=True)
    shutil.copy(TINY, folder / "tiny" / layout.TRACK_FILE)
    shutil.copytree(ROOT / "records" / "gpt2-medium-8xh100", folder / "gpt2-medium-8xh100")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEEDRUN_RECORDS", str(folder))
        submit(make_bundle(root / "a"), "First", 3)
        build(root / "site")
    return root


@pytest.fixture
def records(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Those records for one test, and in site/ nothing but the drawings that a build would take long to make."""
    shutil.copytree(prepared / "records", tmp_path / "records")
    shutil.copytree(
        prepared / "site" / addresses.PRIVATE / "fragments", tmp_path / "site" / addresses.PRIVATE / "fragments"
    )
    monkeypatch.setenv("SPEEDRUN_RECORDS", str(tmp_path / "records"))
    return tmp_path / "records"


def submit(bundle: Path, title: str, day: int, **claims: Any) -> Path:
    drafted = draft(bundle, Claims(title=title, authors=("Ada",), date=date(2026, 1, day), **claims))
    write(drafted)
    return drafted.folder


def stamps(out: Path) -> dict[str, tuple[int, int]]:
    """Of every file: which one it is, and when it was written."""
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()}


# --------------------------------------------------------------------------------------------------- building


def test_nothing_is_written_where_nothing_changed(records: Path, tmp_path: Path) -> None:
    first = build(tmp_path / "site")
    assert len(first.written) == first.files > 50
    before = stamps(tmp_path / "site")
    again = build(tmp_path / "site")
    assert (again.written, again.removed, again.tracks, again.files) == ((), (), (), first.files)
    assert stamps(tmp_path / "site") == before


def test_a_full_build_writes_everything_and_the_same(records: Path, tmp_path: Path) -> None:
    first = build(tmp_path / "site")
    content = {path: path.read_bytes() for path in (tmp_path / "site").rglob("*") if path.is_file()}
    again = build(tmp_path / "site", full=True)
    assert sorted(again.written) == sorted(first.written)
    assert {path: path.read_bytes() for path in content} == content


def test_a_new_record_rewrites_just_what_shows_it(records: Path, tmp_path: Path, make_bundle: Make) -> None:
    build(tmp_path / "site")
    raced = make_bundle(
        tmp_path / "b", candidate_times=(1.5, 1.51, 1.49, 1.52), baseline_times=(2.0, 2.01, 1.99, 2.02), seed=3,
        baseline_record="2026-01-03_First",
        sources={"candidate": {"train_gpt.py": OTHER}, "baseline": {"train_gpt.py": OLD}},
    )  # fmt: skip
    submit(raced, "Second", 4)
    again = build(tmp_path / "site")
    assert again.tracks == ("tiny",)
    assert not [address for address in again.written if "gpt2-medium" in address]
    assert not [address for address in again.written if "2026-01-03_First/run-" in address]
    for address in (addresses.HOME, addresses.FEED, addresses.track("tiny"), addresses.author("Ada"),
                    addresses.record("tiny", "2026-01-04_Second"), addresses.standings("tiny", "csv")):  # fmt: skip
        assert address in again.written
    assert addresses.ABOUT not in again.written


OLD = "def train(run): ...\ndef load(weights, device): ...\n"
OTHER = "def train(run): ...\ndef load(weights, device): ...\nother = 1\n"


def test_pages_of_a_record_that_is_gone_are_removed(records: Path, tmp_path: Path) -> None:
    build(tmp_path / "site")
    page = tmp_path / "site" / addresses.record("tiny", "2026-01-03_First")
    foreign = tmp_path / "site" / "records" / "mine.txt"
    foreign.write_text("not the site's")
    shutil.rmtree(records / "tiny" / "2026-01-03_First")
    again = build(tmp_path / "site")
    assert addresses.record("tiny", "2026-01-03_First") in again.removed
    assert not page.parent.exists()
    assert foreign.exists()
    assert "No record yet" in (tmp_path / "site" / addresses.track("tiny")).read_text()


@pytest.mark.parametrize(
    "damage", ["{", '{"version": 1, "groups": {"shared": 3}}', '{"version": 99, "groups": {}}', ""]
)
def test_a_state_that_cannot_be_read_means_a_whole_build(records: Path, tmp_path: Path, damage: str) -> None:
    first = build(tmp_path / "site")
    (tmp_path / "site" / addresses.PRIVATE / "state.json").write_text(damage)
    assert len(build(tmp_path / "site").written) == first.files


def test_a_page_somebody_deleted_comes_back(records: Path, tmp_path: Path) -> None:
    build(tmp_path / "site")
    page = tmp_path / "site" / addresses.track("tiny")
    content = page.read_bytes()
    page.unlink()
    assert build(tmp_path / "site").written == (addresses.track("tiny"),)
    assert page.read_bytes() == content


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, records: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="expected an empty folder or an earlier site"):
        build(tmp_path / "home")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.tex"]


def test_a_state_cannot_make_the_site_delete_other_files(records: Path, tmp_path: Path) -> None:
    build(tmp_path / "site")
    victim = tmp_path / "victim"
    victim.write_text("keep me")
    path = tmp_path / "site" / addresses.PRIVATE / "state.json"
    state = json.loads(path.read_bytes())
    state["groups"]["gone"] = {"fingerprint": "", "files": {"../victim": "", str(victim): ""}, "fragments": []}
    path.write_text(json.dumps(state))
    build(tmp_path / "site")
    assert victim.read_text() == "keep me"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (layout.RECORD_FILE, "{}"), (layout.LEDGER_FILE, "\n"), (layout.MANIFEST_FILE, "[]"),
        ("train_gpt.py", "def train(run): cheat\n"), (layout.VERDICT_FILE, "null"), (layout.TRACK_FILE, "x = ["),
    ],
)  # fmt: skip
def test_a_broken_record_is_listed_and_does_not_reign(records: Path, tmp_path: Path, file: str, content: str) -> None:
    (records / "tiny" / "2026-01-03_First" / file).write_text(content)
    built = build(tmp_path / "site")
    assert len(built.broken) == 1
    assert built.broken[0].startswith("tiny/2026-01-03_First: ")
    for address in (addresses.HOME, addresses.track("tiny"), addresses.record("tiny", "2026-01-03_First")):
        page = (tmp_path / "site" / address).read_text()
        assert "2026-01-03_First" in page
    assert "Reigning record" not in (tmp_path / "site" / addresses.track("tiny")).read_text()
    standings = json.loads((tmp_path / "site" / addresses.standings("tiny", "json")).read_bytes())
    assert standings["standings"] == []


@pytest.mark.parametrize("name", [layout.TRACK_FILE, layout.HISTORY_FILE])
def test_a_broken_track_is_told_and_the_others_stand(records: Path, tmp_path: Path, name: str) -> None:
    (records / "gpt2-medium-8xh100" / name).write_text("{]")
    built = build(tmp_path / "site")
    assert [sentence.partition(":")[0] for sentence in built.broken] == ["gpt2-medium-8xh100"]
    home = (tmp_path / "site" / addresses.HOME).read_text()
    assert str(records) not in home
    assert "2026-01-03_First" in home


def test_the_command(records: Path, tmp_path: Path) -> None:
    runner = typer.testing.CliRunner()
    done = runner.invoke(site_command.app, ["build", "--out", str(tmp_path / "site"), "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert set(answer) == {*Built.__dataclass_fields__, "seconds"}
    done = runner.invoke(site_command.app, ["build", "--out", str(tmp_path / "site")])
    assert "0 of" in done.stdout
    with pytest.raises(UserError, match="begins with https"):
        runner.invoke(site_command.app, ["build", "--base-url", "ftp://x"], catch_exceptions=False)


def test_two_builds_at_once_wait_for_each_other(records: Path, tmp_path: Path) -> None:
    built: list[Built] = []
    threads = [threading.Thread(target=lambda: built.append(build(tmp_path / "site")), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(150)
    assert len(built) == 3, f"{[thread.is_alive() for thread in threads]} are still at it"
    assert sorted(len(one.written) for one in built)[:2] == [0, 0]
    assert max(len(one.written) for one in built) == built[0].files


# --------------------------------------------------------------------------------------------------- what is written


def test_the_data_is_the_table(records: Path, tmp_path: Path) -> None:
    build(tmp_path / "site")
    with open(tmp_path / "site" / addresses.standings("gpt2-medium-8xh100", "csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    data = json.loads((tmp_path / "site" / addresses.standings("gpt2-medium-8xh100", "json")).read_bytes())
    assert len(rows) == len(data["standings"]) == 18
    assert [row["title"] for row in rows] == [row["title"] for row in data["standings"]]
    assert all((tmp_path / "site" / row["page"]).is_file() for row in rows)
    with open(tmp_path / "site" / addresses.runs("tiny"), newline="") as file:
        runs = list(csv.DictReader(file))
    assert [float(run["train_time_s"]) for run in runs] == [2.0, 2.01, 1.99, 2.02]


def test_a_run_is_published_byte_for_byte(records: Path, tmp_path: Path) -> None:
    build(tmp_path / "site")
    folders = sorted((records / "tiny" / "2026-01-03_First" / "runs").iterdir())
    for number, folder in enumerate(folders):
        page = tmp_path / "site" / addresses.run("tiny", "2026-01-03_First", number)
        assert page.read_bytes() == (folder / layout.RUN_FILE).read_bytes()


STANDING = Standing(
    place=1, name="2026-01-03_First", title="A first record", authors=("Ada",), date=date(2026, 1, 3), tier="refereed",
    runs=3, train_time_s=91.25, train_time_sd_s=0.5, val_loss=2.51234, saving=0.25, hardware="2x CPU core",
    sandbox="namespaces", status="complete", reached_target=True, techniques=("muon",),
)  # fmt: skip


def row(**changes: Any) -> BoardRow:
    values = {name: getattr(STANDING, name) for name in Standing.__dataclass_fields__} | changes
    return BoardRow(track="tiny", address=addresses.record("tiny", str(values["name"])), standing=Standing(**values))


@given(title=ANY_TEXT, author=ANY_TEXT)
def test_the_feed_is_xml_whatever_a_title_says(title: str, author: str) -> None:
    root = ElementTree.fromstring(feed.feed([row(title=title, authors=(author,))]))
    assert len(root.findall(f"{{{feed.ATOM}}}entry")) == 1


def test_the_feed_has_what_atom_asks_for_newest_first() -> None:
    rows = [row(name=f"2026-01-0{day}_R", date=date(2026, 1, day)) for day in (1, 3, 2)]
    root = ElementTree.fromstring(feed.feed(rows, "https://example.org/site/"))
    atom = f"{{{feed.ATOM}}}"
    assert all(root.find(atom + name) is not None for name in ("id", "title", "updated", "link"))
    entries = root.findall(f"{atom}entry")
    assert [entry.findtext(f"{atom}updated", "")[:10] for entry in entries] == [
        "2026-01-03",
        "2026-01-02",
        "2026-01-01",
    ]
    assert len({entry.findtext(f"{atom}id") for entry in entries}) == 3
    assert all(entry.find(f"{atom}author/{atom}name") is not None for entry in entries)
    assert "91.25 s, val_loss 2.5123, n = 3, tier refereed, +25.0 %" in (entries[0].findtext(f"{atom}summary") or "")


@given(ANY_TEXT)
def test_visible_text_hides_nothing(text: str) -> None:
    shown = printing.visible(text)
    assert len(shown) == len(text)
    assert not set(shown) & set("\u202e\u202d\u2066\u200b\u200f\ufeff\x1b\x9b\x00\r")
    assert printing.visible(shown) == shown
    assert "\n" not in printing.one_line(text)


def test_plain_text_stays_as_it_is() -> None:
    text = "Größe 3 × 4 – naïve ümlaut 日本語 🚀\n\tindented"
    assert printing.visible(text) == text


@given(st.text(string.printable, max_size=200))
def test_prose_is_never_markup_of_its_own(text: str) -> None:
    made = str(prose.prose(text))
    root = ElementTree.fromstring(f"<div>{made}</div>".replace("&quot;", "&#34;"))
    for node in root.iter():
        assert node.tag not in ("script", "img", "style", "iframe")
        assert set(node.attrib) <= {"href", "rel", "class", "start", "title", "style", "tabindex"} - (
            {"style"} if node.tag not in ("td", "th") else set()
        )
        assert node.get("href", "https://").startswith(("https://", "http://"))
        assert node.get("tabindex") == ("0" if node.tag in ("table", "pre") else None)


@pytest.mark.parametrize(
    ("markdown", "wanted"),
    [
        ("# A\n\n## B", "<h2>A</h2>\n<h3>B</h3>\n"),
        ("<b onclick=x>hi</b>", "<p>&lt;b onclick=x&gt;hi&lt;/b&gt;</p>\n"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>\n"),
        ("[x](../../etc/passwd)", "<p><a>x</a></p>\n"),
        ("[x](https://a.b)", '<p><a href="https://a.b" rel="nofollow noopener noreferrer">x</a></p>\n'),
        ("```sh\na < b\n```", '<pre tabindex="0"><code>a &lt; b\n</code></pre>\n'),
        ("| a |\n|---|\n| 1 |", '<table tabindex="0">\n<thead>\n<tr>\n<th>a</th>\n</tr>\n</thead>\n'
         "<tbody>\n<tr>\n<td>1</td>\n</tr>\n</tbody>\n</table>\n"),
    ],
)  # fmt: skip
def test_prose(markdown: str, wanted: str) -> None:
    assert prose.prose(markdown) == wanted


@given(st.lists(st.sampled_from(["a = 1", "", "  b()", "</pre>", "# c"]), max_size=12),
       st.lists(st.sampled_from(["a = 1", "", "  b()", "</pre>", "# c"]), max_size=12))  # fmt: skip
def test_a_diff_shows_every_change_and_nothing_else(old: list[str], new: list[str]) -> None:
    texts = ["".join(f"{line}\n" for line in lines).encode() for lines in (old, new)]
    (found,) = diffs.diff_trees({"x.py": texts[0]}, {"x.py": texts[1]})
    if texts[0] == texts[1]:
        assert (found.status, found.hunks) == ("unchanged", ())
        return
    lines = [line for hunk in found.hunks for line in hunk]
    added = [line.new.number for line in lines if line.new and line.kind != "same"]
    removed = [line.old.number for line in lines if line.old and line.kind != "same"]
    kept_old = [text for number, text in enumerate(old, 1) if number not in removed]
    kept_new = [text for number, text in enumerate(new, 1) if number not in added]
    assert kept_old == kept_new
    assert (found.added, found.removed) == (len(added), len(removed))
    assert all("</pre>" not in side.html for line in lines for side in (line.old, line.new) if side)


def test_files_that_came_or_went_or_are_too_long() -> None:
    found = diffs.diff_trees({"a": b"1\n", "c": b"x\n" * 9000}, {"b": b"1\n", "c": b"y\n" * 9000})
    assert [(file.name, file.status) for file in found] == [("a", "removed"), ("b", "added"), ("c", "too large")]


@pytest.mark.parametrize(
    "text",
    ["x = [" + "<" * 2_000_000 + "]\n", "a\n" * 400_000, "f(1, 'two', 3.0)  # four\n" * 8000],
    ids=["wide", "long", "dense"],
)
def test_source_and_diff_of_any_size_make_a_light_page(text: str, request: pytest.FixtureRequest) -> None:
    fits = "dense" in request.node.name  # in plain text
    allowance = highlighting.Allowance()
    lines, cut = highlighting.fitting("x.py", text, allowance)
    assert cut != fits
    assert sum(map(len, lines)) <= highlighting.PAGE_CHARACTERS
    (found,) = diffs.diff_trees({"x.py": b""}, {"x.py": text.encode()})
    shown = [line.new.html for hunk in found.hunks for line in hunk if line.new]
    assert fits or found.cut or found.status == "too large"
    assert sum(map(len, shown)) <= highlighting.PAGE_CHARACTERS


@given(st.text(max_size=200))
@settings(deadline=None)  # the first call imports pygments
def test_highlighting_keeps_every_line_and_escapes(text: str) -> None:
    shown = highlighting.source_text(text.encode("utf-8", "surrogatepass"))
    lines = highlighting.highlighted("x.py", shown)
    assert len(lines) == shown.count("\n") + 1
    bare = [ElementTree.fromstring(f"<p>{line}</p>") for line in lines]
    assert "".join("".join(node.itertext()) for node in bare) == shown.replace("\n", "")


def test_a_file_that_is_not_text_is_shown_harmlessly() -> None:
    assert highlighting.highlighted("weights.bin", highlighting.source_text(b"\xff\x00<b>\r\n")) == [
        "\ufffd\ufffd&lt;b&gt;",
        "",
    ]


@given(st.text(max_size=40))
def test_addresses_are_plain_and_names_keep_apart(name: str) -> None:
    for address in (addresses.author(name), addresses.technique(name)):
        assert set(address) <= set(string.ascii_lowercase + string.digits + "-./")
        assert ".." not in address
        assert address.count("/") == 1
    assert addresses.author(name) != addresses.author(name + "x")
    assert addresses.author(name) != addresses.author(name.swapcase()) or name == name.swapcase()


def test_relative_addresses() -> None:
    here = addresses.record("tiny", "2026-01-03_First")
    assert addresses.relative(here, addresses.HOME) == "../../../index.html"
    assert addresses.relative(here, f"{here}#runs") == "index.html#runs"
    assert addresses.relative(addresses.HOME, addresses.track("tiny")) == "tracks/tiny/index.html"


def test_rows_for_the_script_are_json_with_text_made_visible() -> None:
    script = chunk_script([(cell("</script>\u202e", "a/b.html", sort=1.5, notes=["x"]), cell(""))], "a/c.html").decode()
    assert script.startswith("speedrunRows(")
    rows = json.loads(script.removeprefix("speedrunRows(").removesuffix(");\n"))
    assert rows == [[[[["</script>\ufffd", "b.html"]], 1.5, ["x"]], [[], None]]]


def test_credits_multiply_what_records_save() -> None:
    rows = [row(name="a", saving=0.5), row(name="b", saving=0.2), row(name="c", saving=None, techniques=())]
    (muon,) = contributors.techniques(rows)
    assert muon.together == pytest.approx(1 - 0.5 * 0.8)
    assert muon.median == pytest.approx(0.35)
    assert [len(credit.rows) for credit in contributors.authors(rows)] == [3]


def test_a_strip_and_a_spark_stay_inside_their_frames() -> None:
    found = sparklines.strip([3.27, 3.28, 3.275], 3.29)
    assert found is not None
    assert min(found.dots) == sparklines.MARGIN
    assert found.target == sparklines.WIDTH - sparklines.MARGIN
    assert sparklines.strip([], 3.28) is None
    assert sparklines.strip([1.0], None) is not None
    assert sparklines.spark([100.0, 50.0, 25.0]) == "2.0,3.0 130.0,3.0 130.0,24.0 258.0,24.0 258.0,45.0"
    assert sparklines.spark([5.0]) == ""


def test_a_chart_is_a_picture_and_nothing_else() -> None:
    points = [
        ChartPoint(
            "2026-01-01", 100.0, '<script>x</script>" onload="y', "muon</text><script>", "records/a.html", "refereed"
        ),
        ChartPoint("2026-03-01", 50.0, "\x00\x1b[31m\u202e", "<b>", "records/b.html", "reported"),
    ]
    figure = progress(points, "seconds", "tracks/tiny/index.html", lambda _, make: make())
    assert figure is not None
    assert [drawing.label for drawing in figure.drawings] == ["log scale", "linear scale"]
    for drawing in figure.drawings:
        root = ElementTree.fromstring(drawing.svg)
        assert {node.tag for node in root.iter()} <= {"svg", "g", "path", "text", "tspan", "a", "rect", "line"}
        assert not [name for node in root.iter() for name in node.attrib if name.startswith("on") or name == "style"]
        assert {node.get("href") for node in root.iter("a")} == {"../../records/a.html", "../../records/b.html"}


# --------------------------------------------------------------------------------------------------- serving


@pytest.fixture
def served(records: Path, tmp_path: Path) -> Iterator[int]:
    build(tmp_path / "site")
    server = serving.make_server(tmp_path / "site", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(60)


def get(port: int, path: str, host: str = "localhost") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", path, headers={"Host": f"{host}:{port}"})
    response = connection.getresponse()
    found = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return found


def test_it_is_served_to_this_machine_with_the_policy(served: int) -> None:
    status, headers, body = get(served, "/index.html")
    assert status == 200
    assert b"Who trains fastest" in body
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-type"] == "text/html; charset=utf-8"
    source = get(served, f"/{addresses.raw_source('tiny', '2026-01-03_First', 0)}")
    assert source[1]["Content-type"] == "text/plain; charset=utf-8"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["/.build/state.json", "/../records/tiny/track.toml", "/%2e%2e/a", "/nothing.html", "/%2ebuild/state.json"]
)
def test_what_is_no_page_is_not_served(served: int, path: str) -> None:
    assert get(served, path)[0] == 404


def test_another_name_for_this_address_is_refused(served: int) -> None:
    assert get(served, "/index.html", host="evil.example")[0] == 421


def test_a_port_that_is_taken_is_one_sentence(served: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected port .* to be free"):
        serving.make_server(tmp_path, served)


def test_it_is_built_again_after_a_change(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> None:
    build(tmp_path / "site")
    stop, told, looks = threading.Event(), list[str](), list[str]()
    look = serving.site_fingerprint
    monkeypatch.setattr(serving, "site_fingerprint", lambda: (looks.append(look()), looks[-1])[1])
    thread = threading.Thread(target=serving.watch, args=(tmp_path / "site", told.append, stop, 0.05), daemon=True)
    thread.start()
    try:
        until(lambda: looks, "a first look, at the records as they are")
        readme = records / "tiny" / "2026-01-03_First" / layout.README_FILE
        readme.write_text("# First\n\nQuite another story.\n")
        until(lambda: told, "a word of another build", 150)
    finally:
        stop.set()
        thread.join(60)
    assert "files changed" in told[0], told
    page = tmp_path / "site" / addresses.record("tiny", "2026-01-03_First")
    assert "Quite another story." in page.read_text()


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost", True), ("LOCALHOST", True), ("localhost:80", True), ("127.0.0.1", True), ("[::1]:8000", True),
        ("evil.example", False), ("localhost.evil.example", False), ("evil.example:80", False), ("", False),
    ],
)  # fmt: skip
def test_this_machine_by_whatever_name_a_browser_gives_it(tmp_path: Path, host: str, served: bool) -> None:
    """At port 80 browsers leave the port out; names of other sites for this address stay refused."""
    import http.client
    import threading

    from leaderboard.site.serving import make_server

    (tmp_path / "index.html").write_text("here")
    server = make_server(tmp_path, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=600)
        connection.request("GET", "/index.html", headers={"Host": host})
        assert connection.getresponse().status == (200 if served else 421)
        connection.close()
    finally:
        server.shutdown()
        server.server_close()


def test_a_browser_that_goes_away_is_no_event(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from leaderboard.site.serving import make_server

    server = make_server(tmp_path, 0)
    for error in (ConnectionResetError(), BrokenPipeError()):
        try:
            raise error
        except OSError:
            server.handle_error(None, ("127.0.0.1", 1))
    server.server_close()
    assert capsys.readouterr().err == ""

"""The web site in a real Chromium: it works from a folder, for everybody, and whatever a submission says stays text."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.formats import layout
from harness.records.challenging import attach
from harness.records.standings import Standing
from harness.records.submitting import Claims, draft, write
from leaderboard.site import addresses, screenshots, track_page
from leaderboard.site.building import build
from leaderboard.site.rows import BoardRow

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
axe = pytest.importorskip("axe_playwright_python", reason="needs axe-core")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on the path")

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "tests" / "tracks" / "tiny" / "track.toml"
UPSTREAM = "gpt2-small-8xh100"
PAGE_BYTES = 1_500_000
PATIENCE_MS = 120_000  # a machine that is busy with other tests is no fault of a page
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 375, "height": 700}
HOSTILE = (
    "<script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1">',
    "javascript:window.hacked=1",
    "</td></table><style>body{display:none}</style>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnirts desrever\u202c \u200bhidden",
    "\x1b[31mred\x1b[0m\x07\x9b2J",
    "]]><!-- --><svg/onload=window.hacked=1>",
)
OLD = "def train(run): ...\ndef load(weights, device): ...\n"
NEW = OLD + 'TEXT = "</code></pre><script>window.hacked = 1</script>"\n'


@dataclass
class World:
    """A site of every kind of record, and one page of the browser."""

    folder: Path
    browser: Any
    problems: list[str] = field(default_factory=list)

    def open(self, address: str, *, size: dict[str, int] | None = None, dark: bool = False) -> Any:
        """A page in a context of its own; console errors and requests beyond the folder are problems."""
        context = self.browser.new_context(
            viewport=size or WIDE, color_scheme="dark" if dark else "light", reduced_motion="reduce"
        )
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", lambda m: self.problems.append(f"{m.type}: {m.text}") if m.type != "log" else None)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", lambda r: self._requested(r.url))
        page.goto(f"{self.folder.as_uri()}/{address}")
        return page

    def _requested(self, url: str) -> None:
        if not url.startswith((self.folder.as_uri(), "data:")):
            self.problems.append(f"request: {url}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, bundles: ModuleType) -> Path:
    """Two records and a challenge, a broken record, an imported history, a hostile one, a track without records."""
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEEDRUN_RECORDS", str(root / "records"))
        _own_records(root, bundles.make_bundle)
        shutil.copytree(ROOT / "records" / UPSTREAM, root / "records" / UPSTREAM)
        _hostile_history(root / "records" / "hostile")
        empty = root / "records" / "empty"
        empty.mkdir()
        (empty / layout.TRACK_FILE).write_text(TINY.read_text().replace('name = "tiny"', 'name = "empty"'))
        (root / "records" / "unreadable").mkdir()
        (root / "records" / "unreadable" / layout.TRACK_FILE).write_text("name = [")
        build(root / "site")
    return root / "site"


def _own_records(root: Path, make_bundle: Callable[..., Path]) -> None:
    folder = root / "records" / "tiny"
    folder.mkdir(parents=True)
    shutil.copy(TINY, folder / layout.TRACK_FILE)
    first = _submit(make_bundle(root / "a"), "First", 3)
    (first / layout.README_FILE).write_text(
        f"# First\n\n{HOSTILE[0]}\n\n[click](javascript:alert(1)) ![x](http://x/y)\n"
    )
    raced = make_bundle(
        root / "b", candidate_times=(1.5, 1.51, 1.49, 1.52), baseline_times=(2.0, 2.01, 1.99, 2.02), seed=3,
        baseline_record=first.name, sources={"candidate": {"train_gpt.py": NEW}, "baseline": {"train_gpt.py": OLD}},
    )  # fmt: skip
    second = _submit(raced, HOSTILE[1], 4, name="Second", techniques=("muon",))
    again = make_bundle(root / "c", sources={"candidate": {"train_gpt.py": NEW}}, seed=9)
    attach(second, again, author="Bob", day=date(2026, 1, 5), key=None, expected=None, dry_run=False)
    broken = folder / "2026-01-09_Broken"
    shutil.copytree(second, broken)
    (broken / layout.RECORD_FILE).write_text("{}")


def _submit(bundle: Path, title: str, day: int, **claims: Any) -> Path:
    drafted = draft(bundle, Claims(title=title, authors=("Ada",), date=date(2026, 1, day), **claims))
    write(drafted)
    return drafted.folder


def _hostile_history(folder: Path) -> None:
    """Imported rows whose every text tries something."""
    folder.mkdir()
    (folder / layout.TRACK_FILE).write_text(TINY.read_text().replace('name = "tiny"', 'name = "hostile"'))
    records = [
        {
            "number": number, "official": True, "date": f"2026-01-{number:02d}", "title": text, "authors": [text],
            "techniques": [text], "claim": {"train_time_s": 100.0 / number}, "group": text, "runs": [number - 1],
            "note": text,
        }
        for number, text in enumerate(HOSTILE, 1)
    ]  # fmt: skip
    runs = [[0, text, 0, 5.5 + i / 10, 1000, 10, 10, 3, 0, 0, None] for i, text in enumerate(HOSTILE)]
    history = {
        "schema_version": 1, "track": "hostile", "source": {"repository": "javascript:window.hacked=1//", "commit": ""},
        "folders": [HOSTILE[0]], "machines": [[HOSTILE[1], 2, HOSTILE[0], "", "", "", ""]],
        "scripts": [[HOSTILE[2], False]], "runs": runs, "records": records,
    }  # fmt: skip
    (folder / layout.HISTORY_FILE).write_text(json.dumps(history))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver, screenshots.browser(driver, PATIENCE_MS) as found:
        yield found


OPENED = """
from playwright.sync_api import sync_playwright
from leaderboard.site import screenshots
with sync_playwright() as driver, screenshots.browser(driver) as browser:
    page = browser.new_page()
    page.set_content("<title>opened</title>")
    print(page.title())
"""


@pytest.mark.slow
def test_a_browser_opens_where_the_folder_for_temporary_files_has_a_long_name(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 100)
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", OPENED],
        cwd=layout.ROOT,
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "opened\n", done.stderr


@pytest.fixture
def world(site: Path, browser: Any) -> Iterator[World]:
    """Every test ends without a console message and without a request beyond the folder."""
    made = World(site, browser)
    yield made
    for context in browser.contexts:
        context.close()
    assert made.problems == []


SECOND = addresses.record("tiny", "2026-01-04_Second")
PAGES = [
    addresses.HOME, addresses.track("tiny"), addresses.track(UPSTREAM), addresses.track("empty"), SECOND,
    addresses.source("tiny", "2026-01-04_Second"), addresses.difference("tiny", "2026-01-04_Second"),
    addresses.imported(UPSTREAM, "89"), addresses.author("Ada"), addresses.technique("muon"), addresses.TECHNIQUES,
    addresses.audit(UPSTREAM), addresses.MUSEUM, addresses.ABOUT, addresses.DATA,
    addresses.record("tiny", "2026-01-09_Broken"), addresses.track("hostile"), addresses.imported("hostile", "2"),
]  # fmt: skip
# Checks that take seconds a page look at these in `make test`, and at all pages in the longer tests.
SAMPLE = {SECOND, addresses.track("hostile")}
AUDIT = """() => {
  const bad = [];
  const say = (what, node) => bad.push(what + ': ' + (node?.outerHTML ?? '').slice(0, 160));
  if (document.documentElement.lang !== 'en') say('no language');
  if (!document.title.trim()) say('no title');
  for (const landmark of ['main', 'header', 'footer', 'nav[aria-label]'])
    if (!document.querySelector(landmark)) say('no ' + landmark);
  const headings = [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((h) => Number(h.tagName[1]));
  if (headings.filter((level) => level === 1).length !== 1 || headings[0] !== 1) say('not one h1 at the top');
  headings.forEach((level, i) => { if (i && level > headings[i - 1] + 1) say(`h${level} after h${headings[i - 1]}`); });
  const ids = [...document.querySelectorAll('[id]')].map((node) => node.id);
  ids.forEach((id, i) => { if (ids.indexOf(id) !== i) say('id twice: ' + id); });
  const named = (node) => (node.getAttribute('aria-label') || node.textContent || '').trim()
    || node.labels?.[0]?.textContent.trim() || node.querySelector('[aria-label]');
  document.querySelectorAll('a[href], button, input, select, [role=img], [role=region], [role=group]')
    .forEach((node) => { if (!named(node)) say('no name', node); });
  document.querySelectorAll('[tabindex]').forEach((node) => { if (node.tabIndex > 0) say('order', node); });
  document.querySelectorAll('table').forEach((table) => {
    if (!table.caption?.textContent.trim() && !table.closest('.prose')) say('no caption', table);
    if (!table.closest('.prose')) table.querySelectorAll('thead th:not([scope])').forEach((th) => say('scope', th));
  });
  document.querySelectorAll('img:not([alt]), iframe, object, embed').forEach((node) => say('foreign', node));
  document.querySelectorAll('[style], style, script:not([src])').forEach((node) => {
    if (!node.classList.contains('tip')) say('inline', node);
  });
  document.querySelectorAll('*').forEach((node) => {
    for (const { name } of node.attributes) if (name.startsWith('on')) say('handler', node);
  });
  document.querySelectorAll('a').forEach((a) => {
    if (a.getAttribute('href')?.match(/^\\s*(javascript|data|vbscript):/i)) say('link', a);
  });
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth) say('wider than the window');
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const bright = (rgb) => rgb.slice(0, 3).map((c) => linear(c / 255))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const found = channels(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return channels(getComputedStyle(document.body).backgroundColor);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest('.unseen, .skip')) continue;
    const style = getComputedStyle(node);
    const ink = channels(node instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [bright(ink), bright(ground(node))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const contrast = (a + 0.05) / (b + 0.05);
    seen += 1;
    if (contrast < (large ? 3 : 4.5)) say(`contrast ${contrast.toFixed(2)}`, node);
  }
  return { bad: [...new Set(bad)].slice(0, 12), seen, hacked: window.hacked };
}"""


AXE = Path(axe.__file__).parent / "axe.min.js"
SERIOUS = """async () => (await axe.run({preload: false})).violations
  .filter((v) => ['serious', 'critical'].includes(v.impact))
  .map((v) => `${v.id}: ${v.nodes.map((node) => node.html.slice(0, 160)).slice(0, 4).join('  ')}`)"""


A_SAMPLE_HERE = [pytest.param(page, marks=[] if page in SAMPLE else [pytest.mark.slow]) for page in PAGES]


@pytest.mark.parametrize("address", A_SAMPLE_HERE)
def test_axe_finds_nothing_serious(world: World, address: str) -> None:
    for size, dark in ((WIDE, False), (PHONE, True)):
        page = world.open(address, size=size, dark=dark)
        page.evaluate(AXE.read_text())
        assert page.evaluate(SERIOUS) == []


@pytest.mark.parametrize("address", A_SAMPLE_HERE)
def test_a_page_is_accessible_in_both_themes_wide_and_on_a_phone(world: World, address: str) -> None:
    page = world.open(address)
    for size, dark in ((WIDE, False), (WIDE, True), (PHONE, True), (PHONE, False)):
        page.set_viewport_size(size)
        page.emulate_media(color_scheme="dark" if dark else "light")
        found = page.evaluate(AUDIT)
        assert found["bad"] == [], (size, dark)
        assert found["seen"] > 10
        assert found.get("hacked") is None


def test_the_audit_sees_what_is_wrong(world: World) -> None:
    """The checks above can fail."""
    page = world.open(addresses.ABOUT)
    page.evaluate("""() => {
        document.querySelector('h2').outerHTML = '<h4>Pale</h4>';
        document.querySelector('h4').style.setProperty('color', 'rgb(200, 200, 200)');
        document.querySelector('h4').style.setProperty('width', '3000px');
        document.querySelector('main').append(document.createElement('button'));
    }""")
    found = " ".join(page.evaluate(AUDIT)["bad"])
    for what in ("h4 after h1", "contrast", "no name", "wider"):
        assert what in found
    page.evaluate(AXE.read_text())
    found = " ".join(page.evaluate(SERIOUS))
    for what in ("color-contrast", "button-name"):
        assert what in found


def column(page: Any, key: str) -> list[str]:
    """The first line of every field of a column, as shown."""
    index = page.evaluate(
        "key => [...document.querySelectorAll('.grid thead th')].findIndex((th) => th.dataset.key === key)", key
    )
    fields = page.eval_on_selector_all(f".grid tbody td:nth-child({index + 1})", "tds => tds.map(td => td.innerText)")
    return [text.split("\n")[0] for text in fields]


def test_sorting_by_a_number(world: World) -> None:
    page = world.open(addresses.track(UPSTREAM))
    before = column(page, "time")
    page.click("th[data-key=time] button")
    ascending = [float(text.removesuffix(" s").replace(",", "")) for text in column(page, "time")]
    assert ascending == sorted(ascending)
    assert page.get_attribute("th[data-key=time]", "aria-sort") == "ascending"
    page.press("th[data-key=time] button", "Enter")  # by keyboard, the other way
    assert column(page, "time")[0] == "2,700 s"
    assert page.get_attribute("th[data-key=time]", "aria-sort") == "descending"
    assert sorted(column(page, "time")) == sorted(before)
    assert page.locator(".grid tbody td.wide a").count() >= len(before)  # drawn again, the links are still there


def test_what_is_missing_sorts_last_both_ways(world: World) -> None:
    page = world.open(addresses.track(UPSTREAM))
    page.click("th[data-key=saved] button")
    ascending = column(page, "saved")
    page.click("th[data-key=saved] button")
    assert ascending[-1] == column(page, "saved")[-1] == ""


def test_filtering(world: World) -> None:
    page = world.open(addresses.track(UPSTREAM))
    page.fill("input[name=text]", "muon")
    rows = page.eval_on_selector_all(".grid tbody tr", "trs => trs.map(tr => tr.innerText.toLowerCase())")
    assert 5 < len(rows) < 94
    assert all("muon" in row for row in rows)
    assert page.inner_text(".filters output") == f"{len(rows)} rows"
    page.fill("input[name=text]", "no such thing anywhere")
    assert page.locator(".grid tbody tr").count() == 0
    page.fill("input[name=text]", "")
    assert page.locator(".grid tbody tr").count() == 94


def follow(page: Any, link: str, address: str) -> None:
    """A click on a link, until what it leads to has loaded: a click alone does not wait for that."""
    page.click(link)
    page.wait_for_url(f"**/{address}", wait_until="load")


def test_from_a_track_to_a_record_to_its_runs_to_their_bytes(world: World, site: Path) -> None:
    page = world.open(addresses.HOME)
    follow(page, "main .card a:text-is('tiny')", addresses.track("tiny"))
    page.click("th[data-key=time] button")
    follow(page, ".grid tbody tr:first-child td:has-text('1.5') a >> nth=0", f"{SECOND}#runs")
    assert page.locator("#runs-table tbody tr").count() == 8  # both arms
    losses = column(page, "loss")
    follow(page, "#run-0 td:first-child a", addresses.run("tiny", "2026-01-04_Second", 0))
    run = json.loads((site / addresses.run("tiny", "2026-01-04_Second", 0)).read_bytes())
    assert json.loads(page.inner_text("pre")) == run
    assert f"{run['score']['val_loss']:.5f}" == losses[0]


def test_a_record_tells_everything(world: World) -> None:
    page = world.open(SECOND)
    text = page.inner_text("main")
    for what in ("95 % interval", "Faster? Yes", "reproduction by Bob", "raced against", "2026-01-03_First", "reigns",
                 "Invented CPU", "speedrun reproduce", "namespaces", "numpy==2.3.0"):  # fmt: skip
        assert what.lower() in text.lower() or what in page.content(), what
    assert page.locator(".drawing svg").count() == 3
    page.click("text=over steps")
    assert page.locator(".drawing:visible").count() == 2


def test_a_challenge_leads_to_its_runs(world: World, site: Path) -> None:
    page = world.open(SECOND)
    page.click("#challenges + ul summary")
    assert page.locator("#c0-runs tbody tr").count() == 4
    follow(page, "#c0-run-2 td:first-child a", addresses.run("tiny", "2026-01-04_Second", 2, 0))
    run = json.loads((site / addresses.run("tiny", "2026-01-04_Second", 2, 0)).read_bytes())
    assert json.loads(page.inner_text("pre"))["run_id"] == run["run_id"]


def test_its_source_and_its_changes(world: World) -> None:
    page = world.open(addresses.source("tiny", "2026-01-04_Second"))
    assert page.inner_text(".source code").rstrip("\n") == NEW.rstrip("\n")
    assert page.locator(".source .k").count() >= 2
    page = world.open(addresses.difference("tiny", "2026-01-04_Second"))
    assert page.locator("tr.added").count() == 1
    assert "<script>window.hacked" in page.inner_text("tr.added td.w")
    assert page.get_attribute("main a:text-is('2026-01-03_First')", "href") == "../2026-01-03_First/index.html"


def test_what_is_broken_is_listed_with_its_finding_and_holds_no_place(world: World) -> None:
    for address in (addresses.HOME, addresses.track("tiny"), addresses.record("tiny", "2026-01-09_Broken")):
        text = world.open(address).inner_text("main")
        assert "2026-01-09_Broken" in text
        assert "schema_version" in text or "record.json" in text
    assert "unreadable" in world.open(addresses.HOME).inner_text(".notice")
    assert "2026-01-09_Broken" not in world.open(addresses.track("tiny")).inner_text(".grid")


@pytest.mark.parametrize("number", range(1, len(HOSTILE) + 1))
def test_hostile_text_stays_text(world: World, number: int) -> None:
    page = world.open(addresses.imported("hostile", str(number)))
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")  # after `load`, a frame
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main style, main script").count() == 0
    title = page.inner_text("h1")
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u202c\u200b" for c in title)
    if number in (1, 2, 3, 5):
        assert title == " ".join(HOSTILE[number - 1].split())
    assert page.locator("#upstream ~ ul a").count() == 0  # the repository's address is no address of the web


def test_hostile_text_in_tables_charts_and_tooltips(world: World) -> None:
    page = world.open(addresses.track("hostile"))
    assert page.locator(".drawing:visible a").count() == len(HOSTILE)
    for point in page.locator(".drawing:visible a").all():
        point.focus()
        assert page.locator(".tip").is_visible()
    page.click("th[data-key=record] button")
    page.fill("input[name=text]", "<script>")
    assert page.locator(".grid tbody tr").count() == 1
    assert page.evaluate("window.hacked") is None
    assert page.locator(".grid script, .grid img, .chart script").count() == 0


def test_a_point_of_the_chart_leads_to_its_record(world: World) -> None:
    page = world.open(addresses.track(UPSTREAM))
    page.locator(".drawing:visible a").nth(0).focus()
    assert "2,700 s" in page.inner_text(".tip")
    page.keyboard.press("Enter")
    page.wait_for_url("**/reported-1.html")


def test_the_theme_is_chosen_and_kept(world: World) -> None:
    page = world.open(addresses.HOME)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    dark = page.evaluate(ground)
    assert light != dark
    assert page.get_attribute("#theme", "aria-pressed") == "true"
    page.goto(f"{world.folder.as_uri()}/{addresses.ABOUT}")
    assert page.evaluate(ground) == dark
    assert world.open(addresses.HOME, dark=True).evaluate(ground) == dark  # a system that is dark, without a choice


def test_the_keyboard_reaches_the_content_first(world: World) -> None:
    page = world.open(addresses.track("tiny"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_nothing_moves_while_a_page_loads(world: World) -> None:
    page = world.open(addresses.track(UPSTREAM))
    shift = page.evaluate("""() => new Promise((done) => {
        let sum = 0;
        new PerformanceObserver((list) => list.getEntries().forEach((e) => { sum += e.value; }))
            .observe({ type: 'layout-shift', buffered: true });
        setTimeout(() => done(sum), 200);
    })""")
    assert shift < 0.01


def test_printed_pages_are_content_on_white(world: World) -> None:
    page = world.open(SECOND, dark=True)
    page.emulate_media(media="print", color_scheme="light")
    assert not page.locator(".top nav").is_visible()
    assert page.locator("#runs-table").is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 28, 31)"


def test_pages_are_complete_without_scripts(site: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=WIDE)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/{addresses.track(UPSTREAM)}")
    assert page.locator(".grid tbody tr").count() == 94
    assert page.locator(".drawing").nth(0).is_visible()
    assert not page.locator(".filters").is_visible()
    context.close()


def test_every_page_is_light_and_holds_to_the_policy(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assets = sum(path.stat().st_size for path in (site / "assets").iterdir())
    assert len(pages) > 200
    for path in pages:
        content = path.read_text()
        assert len(content.encode()) + assets < PAGE_BYTES
        assert content.count("http-equiv") == 1
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in content.replace("&#39;", "'")


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    import re
    from urllib.parse import unquote

    ids = {path: set(re.findall(r'\bid="([^"]+)"', path.read_text())) for path in site.rglob("*.html")}
    for path in ids:
        for href in set(re.findall(r'(?:href|src|xlink:href)="([^"]*)"', path.read_text())):
            if href.startswith(("https://", "http://", "data:")):
                continue
            name, _, fragment = href.partition("#")
            target = (path.parent / unquote(name)).resolve() if name else path
            assert target.is_file(), (path, href)
            assert not fragment or target.suffix != ".html" or fragment in ids[target], (path, href)


# ------------------------------------------------------------------------------------------------- long tables


def _many(count: int) -> list[BoardRow]:
    standing = Standing(
        place=1, name="2026-01-01_First", title="A record", authors=("Ada", "Grace"), date=date(2020, 1, 1),
        tier="refereed", runs=5, train_time_s=91.25, train_time_sd_s=0.5, val_loss=3.2791, saving=0.001,
        hardware="8x NVIDIA H100 80GB HBM3", sandbox="namespaces", status="complete", reached_target=True,
        train_time_low_s=90.0, train_time_high_s=92.0, p_value=0.001, techniques=("muon", "value-embeddings"),
    )  # fmt: skip
    return [
        BoardRow(
            track="tiny",
            address=SECOND,
            standing=replace(
                standing, place=i + 1, title=f"Record number {i + 1}", train_time_s=1000 - i / 20,
                board_time_s=1000 - i / 20, date=date(2020, 1, 1) + timedelta(days=i // 5),
            ),
        )
        for i in range(count)
    ]  # fmt: skip


@pytest.mark.slow
def test_ten_thousand_records(
    site: Path, world: World, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Pages of a track stay light; sorting and filtering still see every record."""
    from leaderboard.site.rendering import Renderer
    from leaderboard.site.track_data import Collection

    monkeypatch.setattr(track_page, "rows_of", lambda _: _many(10_000))
    pages, chunks = track_page.track_pages(Collection(name="tiny", folder=site, track=None), lambda _, make: make())
    assert len(pages) == 40
    renderer = Renderer()
    place = site / "tracks" / "many"
    place.mkdir()
    request.addfinalizer(lambda: shutil.rmtree(place))  # other tests look at every page of the site
    for page in pages[:2]:
        content = renderer.render(page)
        assert len(content) < PAGE_BYTES / 2
        (place / Path(page.address).name).write_bytes(content)
    for address, content in chunks.items():
        assert len(content) < PAGE_BYTES
        (place / Path(address).name).write_bytes(content)
    opened = world.open("tracks/many/index.html")
    assert opened.locator(".grid tbody tr").count() == track_page.PAGE_ROWS
    assert column(opened, "#")[0] == "10000"
    opened.click("th[data-key='#'] button")
    opened.locator(".grid tbody tr:first-child td:first-child:text-is('1')").wait_for()
    assert opened.locator(".grid tbody tr").count() == track_page.PAGE_ROWS
    opened.click(".more")
    assert opened.locator(".grid tbody tr").count() == 2 * track_page.PAGE_ROWS
    opened.fill("input[name=text]", "number 9999")
    opened.locator(".grid output:text-is('1 row')").wait_for()
    assert opened.locator(".grid tbody tr").count() == 1
    assert opened.locator(".grid tbody a").count() >= 8
    assert world.open("tracks/many/page-2.html").locator(".grid tbody tr").count() == track_page.PAGE_ROWS

"""Screenshots of the main pages, for the documents: light and dark, wide and on a phone."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.errors import UserError

from . import addresses
from .building import build

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

SHORT = "/tmp"  # noqa: S108 - a fresh folder in it is made, readable by us alone
WIDE, PHONE = (1280, 900), (390, 844)


def find_chromium() -> str:
    """Raises UserError where there is none."""
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        raise UserError("expected a Chromium to take pictures with, found none; install chromium")
    return found


@contextmanager
def browser(playwright: "Playwright", patience_ms: float | None = None) -> Iterator["Browser"]:
    """Chromium without a window. Its files lie in a folder of a short name: the address of its socket holds 107 bytes,
    and a folder for temporary files may have more. Raises UserError where there is none."""
    place = SHORT if os.access(SHORT, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="sr-", ignore_cleanup_errors=True) as folder:
        environment: dict[str, str | float | bool] = {**os.environ, "TMPDIR": folder}
        found = playwright.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox"], timeout=patience_ms, env=environment
        )
        try:
            yield found
        finally:
            found.close()


def take(out: Path) -> list[Path]:
    """Build the site anew in a temporary folder and take its pictures. Raises UserError where nothing can."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UserError("expected playwright to take pictures with, found none; `make install` brings it") from error
    out.mkdir(parents=True, exist_ok=True)
    find_chromium()  # before the site is built
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = Path(folder) / "site"
        build(site)
        with browser(playwright) as chromium:
            return [_picture(chromium, site, out, *shot) for shot in _shots(site)]


def _shots(site: Path) -> Iterator[tuple[str, str, str, tuple[int, int]]]:
    """(name, page, theme, size)."""
    records = sorted(page.relative_to(site).as_posix() for page in site.glob("records/*/*/index.html"))
    progress = addresses.track("gpt2-small-8xh100")
    yield "home-light", addresses.HOME, "light", WIDE
    yield "home-dark", addresses.HOME, "dark", WIDE
    yield "home-phone", addresses.HOME, "light", PHONE
    yield "track-light", progress, "light", WIDE
    yield "track-dark", progress, "dark", WIDE
    yield "track-phone", progress + "#records", "dark", PHONE
    if records:
        yield "record-light", records[-1], "light", WIDE
        yield "record-dark", records[-1] + "#runs", "dark", WIDE
        yield "record-phone", records[-1], "light", PHONE
        yield "changes-dark", records[-1].replace("index.html", "diff.html"), "dark", WIDE


def _picture(
    browser: "Browser", site: Path, out: Path, name: str, page: str, theme: str, size: tuple[int, int]
) -> Path:
    width, height = size
    scheme: Literal["dark", "light"] = "dark" if theme == "dark" else "light"
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    tab, path = context.new_page(), out / f"{name}.png"
    tab.goto(f"{site.as_uri()}/{page}")
    tab.screenshot(path=path)
    context.close()
    return path

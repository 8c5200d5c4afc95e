"""speedrun site: the leaderboard as a web site, built into a folder or served here"""

import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn

from harness.cli.answers import json_text
from harness.errors import UserError
from harness.formats import layout, numbers

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)
DEFAULT = layout.ROOT / "site"
Out = Annotated[Path, typer.Option(help="The site's folder: empty, or a site built before.")]


@app.command()
def build(
    out: Out = DEFAULT,
    base_url: Annotated[str, typer.Option(help="Where it will be published, for the feed.")] = "",
    full: Annotated[bool, typer.Option("--full", help="Make everything again, whatever has not changed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Write the whole leaderboard as pages that work from a folder, without a server or a network.

    A page per track, record, author and technique, the audit, the museum of cheats, an Atom feed, and the data as JSON
    and CSV. Every record is verified on the way; one that does not hold is listed as broken. What has not changed since
    the last build is left alone. Open OUT/index.html.
    """
    from ..site.building import build as build_site

    if base_url and not base_url.startswith(("https://", "http://")):
        raise UserError(f"expected an address that begins with https://, found {base_url!r}")
    console = Console(stderr=True)
    with Progress(TextColumn("{task.description}"), *Progress.get_default_columns()[1:], console=console,
                  transient=True, disable=as_json or not console.is_terminal) as progress:  # fmt: skip
        task = progress.add_task("reading", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        built = build_site(out, base_url=base_url, full=full, on_progress=show)
    if as_json:
        print(json_text(built))
        return
    changed = f"{len(built.written)} of {built.files} files written"
    removed = f", {len(built.removed)} removed" if built.removed else ""
    taken = numbers.fixed_seconds(built.seconds, 1)
    print(f"{out}: {changed}{removed}, in {taken}; open {out / 'index.html'}")
    for sentence in built.broken:
        print(f"broken: {sentence}")


@app.command()
def serve(
    out: Out = DEFAULT,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    open_browser: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Build the site and serve it to this machine alone, built again whenever a record changes. Ctrl-C ends it."""
    from ..site.building import build as build_site
    from ..site.serving import address_of, make_server, watch

    build_site(out)
    server, stop = make_server(out, port), threading.Event()
    watcher = threading.Thread(target=watch, args=(out, print, stop), daemon=True)
    watcher.start()
    print(f"{address_of(server)}  (Ctrl-C ends it)", flush=True)
    if open_browser:
        webbrowser.open(address_of(server))
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        stop.set()
        server.server_close()


@app.command()
def screenshots(
    out: Annotated[Path, typer.Option(help="Where the pictures go.")] = layout.ROOT / "docs" / "screenshots",
) -> None:
    """Take pictures of the main pages in light, dark and phone width. Needs playwright and a Chromium."""
    from ..site.screenshots import take

    for path in take(out):
        print(path)

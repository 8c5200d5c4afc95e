"""The front door.

    speedrun COMMAND ...                                            the console command
    python -m harness COMMAND ...                                   the same from a checkout
    torchrun --standalone --nproc_per_node=8 -m harness run ...     local rank 0 becomes the referee
    torchrun --standalone --nproc_per_node=8 harness run ...        the same, executing the folder

Commands are imported when they are called, so `speedrun --help` costs nothing that it does not show.
"""

import signal
import sys


def _end_by_sigint(number: int, frame: object) -> None:
    """While modules are imported there is nothing to clean up, and what is raised may be swallowed."""
    import os

    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):  # type: ignore[attr-defined]
            os.write(2, b"speedrun: interrupted\n")
            os._exit(130)
        frame = frame.f_back  # type: ignore[attr-defined]
    raise KeyboardInterrupt


_is_program = __name__ == "__main__" or sys.argv[0].endswith("speedrun")
if _is_program and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # from the first import on
    signal.signal(signal.SIGINT, _end_by_sigint)

# ruff: noqa: E402 - what follows may be interrupted already
import difflib
import importlib
import json
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

if not __package__:  # executed as a folder: Python put harness/ itself on the path, where its modules shadow others
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

GROUPS = {
    "race": {
        "run": ("harness.cli.run:run", "Run a submission under the referee and score it"),
        "compare": ("harness.cli.compare:compare", "Race a candidate against a baseline on this machine, interleaved"),
        "plan": ("harness.cli.plan:plan", "Say how many runs a claim needs, and what they cost"),
        "reproduce": ("leaderboard.cli.reproduce:reproduce", "Run a record again, here, and say whether it holds"),
    },
    "records": {
        "submit": ("harness.cli.submit:submit", "Make a record folder of a finished campaign"),
        "export": ("leaderboard.cli.export:app", "Write a campaign of self-timed scripts as upstream reviews it"),
        "verify": ("leaderboard.cli.verify:verify", "Derive every number of records and campaigns again"),
        "challenge": ("harness.cli.challenge:challenge", "Attach a reproduction or a refutation to a record"),
        "rules": ("harness.cli.rules:rules", "Show the rules of a track, each with its number and its reason"),
    },
    "look": {
        "leaderboard": ("leaderboard.cli.leaderboard:leaderboard", "Show who holds the records, and your local runs"),
        "show": ("leaderboard.cli.show:show", "Show everything about one record"),
        "plot": ("leaderboard.cli.plot:app", "Draw progress, loss curves or noise"),
        "watch": ("leaderboard.cli.watch:watch", "Follow a run in progress"),
        "close": ("leaderboard.cli.close:close", "Close a run that was lost with its host or its container"),
        "site": ("leaderboard.cli.site:app", "Build the leaderboard as a web site, or serve it"),
        "readme": ("leaderboard.cli.readme:readme", "Write the tables between README.md's markers"),
        "log": ("leaderboard.cli.log:log", "Say what is in a training log of any known kind"),
        "audit": ("leaderboard.cli.audit:audit", "Compare imported claims with what their logs support"),
        "import": ("leaderboard.cli.importing:import_", "Read another competition's history into records/"),
    },
    "machine": {
        "tracks": ("harness.cli.tracks:tracks", "List the contests and what this machine lacks for each"),
        "data": ("harness.cli.data:app", "Fetch, check, make and inspect the data that models read"),
        "doctor": ("harness.cli.doctor:doctor", "Check this machine: GPUs, torch, sandbox, data, disk"),
        "schemas": ("leaderboard.cli.schemas:schemas", "Write the JSON Schemas of everything on disk"),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
LEGACY = {  # commands with --legacy have options of their own
    "run": "harness.cli.legacy:legacy",
    "compare": "harness.cli.scripts:compare_legacy",
}
EXIT_CODES = """\
  0  complete, valid, target reached        4  over a budget of the track
  1  complete, but target missed or invalid 5  this machine could not do it
  2  wrong command line or input            6  the referee failed
  3  the submission failed                  130, 143  interrupted, terminated
                                            141  nobody reads the output any more"""


def main(argv: list[str] | None = None) -> None:
    """Find the command, run it, exit with its code."""
    argv = sys.argv[1:] if argv is None else argv
    from harness.cli import ending
    from harness.system import inheritance

    inheritance.put_right(utf8="--json" in argv or "--format" in argv)
    sys.exit(ending.run_to_its_end(lambda: _call(argv), argv))


def _call(argv: list[str]) -> int:
    """The exit code of a command; raises whatever goes wrong in it."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if argv[0] == "--version":
        print(json.dumps({"version": _version()}) if "--json" in argv else f"speedrun {_version()}")
        return 0
    import typer

    app = _app(argv)
    command = typer.main.get_command(app)
    try:
        with command.make_context(f"speedrun {argv[0]}", argv[1:]) as context:
            command.invoke(context)
    except typer.Exit as left:
        return left.exit_code
    return 0


def _app(argv: list[str]) -> "typer.Typer":
    """The command's Typer application. Raises UserError where there is no such command."""
    import typer

    from harness.errors import UserError

    if argv[0] not in COMMANDS:
        close = difflib.get_close_matches(argv[0], COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "see `speedrun --help`"
        raise UserError(f"expected one of the commands {', '.join(COMMANDS)}, found {argv[0]!r}; {hint}")
    module, _, name = (LEGACY[argv[0]] if _is_legacy(argv) else COMMANDS[argv[0]][0]).partition(":")
    app = getattr(importlib.import_module(module), name)
    if isinstance(app, typer.Typer):  # a group of commands
        return app
    function, app = app, typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.command()(function)
    return app


def _is_legacy(argv: list[str]) -> bool:
    """Whether it is `run --legacy` or `compare --legacy`; what stands behind -- is the script's."""
    own = argv[1 : argv.index("--")] if "--" in argv else argv[1:]
    return argv[0] in LEGACY and any(word.partition("=")[0] == "--legacy" for word in own)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = []
    for group, commands in GROUPS.items():
        lines += [f"{group}:", *(f"  {name:<{width}}  {help}" for name, (_, help) in commands.items()), ""]
    return "\n".join(
        [
            "A referee for training speedruns: it owns clock, data, validation, seeds and evidence.",
            "",
            "usage: speedrun COMMAND [OPTIONS]        speedrun COMMAND --help teaches each one",
            "",
            *lines,
            "start here:",
            "  speedrun run train_gpt.py --track nano-2cpu     two CPU cores, about a minute",
            "  speedrun leaderboard --track nano-2cpu",
            "",
            "exit codes:",
            EXIT_CODES,
        ]
    )


def _version() -> str:
    try:
        return metadata.version("speedrun-referee")
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return "(not installed)"


if __name__ == "__main__":
    main()

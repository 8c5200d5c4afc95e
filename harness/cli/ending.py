"""How every command ends: whatever was raised becomes one sentence and the exit code that is right for it."""

import contextlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable

from ..status import ExitCode

BROKEN_PIPE = 141  # 128 + SIGPIPE, as of programs that die by it
NOTHING = "/dev/null"


def run_to_its_end(call: Callable[[], int], argv: list[str]) -> int:
    """The exit code of a command, its output written; a sentence on stderr, and with --json an object on stdout."""
    try:
        code = call()
    except SystemExit as left:  # a command that has said everything itself
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
        if isinstance(left.__context__, BrokenPipeError):  # rich makes it an exit code of its own
            code = BROKEN_PIPE
    except BaseException as error:  # noqa: BLE001 - the last resort: Python's own exit code 1 would read as "missed"
        sentence, code = ending_of(error)
        if sentence is None and code == ExitCode.REFEREE:
            _to_stderr(traceback.format_exc())
        elif sentence is not None:
            say(argv, sentence, code)
    return _flush(code)


def ending_of(error: BaseException) -> tuple[str | None, int]:
    """A sentence and an exit code. No sentence: a reader that has gone, or a bug of ours, which shows its traceback."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", ExitCode.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return None, BROKEN_PIPE
    if isinstance(error, OSError):
        from ..errors import machine_sentence

        return machine_sentence(error), ExitCode.MACHINE
    if isinstance(error, UnicodeError):
        return f"expected text that can be read and written here, found: {error}; see LANG and LC_ALL", ExitCode.MACHINE
    if isinstance(error, MemoryError):
        return "expected enough memory, found too little; close something, or ask for less at once", ExitCode.MACHINE
    from ..errors import RunFailure, UserError

    if isinstance(error, RunFailure):
        return error.sentence, error.status.exit_code
    if isinstance(error, UserError):
        return str(error), ExitCode.USAGE
    import typer

    if isinstance(error, typer.Abort):
        return "interrupted", ExitCode.INTERRUPTED
    if isinstance(error, typer.TyperException):
        return usage_sentence(error), ExitCode.USAGE
    return None, ExitCode.REFEREE


def usage_sentence(error: Exception) -> str:
    """A wrong command line, in our own style."""
    ctx = getattr(error, "ctx", None)
    see = f"see `{ctx.command_path} --help`" if ctx is not None else "see its --help"
    commands = ", ".join(getattr(ctx.command, "commands", {})) if ctx is not None else ""
    kind, message = type(error).__name__, str(getattr(error, "message", error)).rstrip(".")
    if kind == "NoArgsIsHelpError":
        return f"expected one of {commands}, found nothing; {see}"
    if kind == "MissingParameter":
        return f"expected {_name_of(error)}, found none; {see}"
    if kind == "NoSuchOption":
        near = ", ".join(getattr(error, "possibilities", None) or ())
        return f"expected an option that there is, found {getattr(error, 'option_name', message)!r}; " + (
            f"did you mean {near}?" if near else see
        )
    if kind == "BadOptionUsage" and message.endswith("requires an argument"):
        return f"expected a value behind {getattr(error, 'option_name', 'the option')}, found none; {see}"
    if kind == "BadParameter":
        return f"expected another value of {_name_of(error)}, found: {message[:1].lower() + message[1:]}; {see}"
    if (extra := re.fullmatch(r"Got unexpected extra argument(?:s|\(s\))? \((.*)\)", message)) is not None:
        return f"expected no more arguments, found {extra[1]}; {see}"
    if commands and (unknown := re.match(r"No such command '(.*?)'", message)) is not None:
        return f"expected one of {commands}, found {unknown[1]!r}; {see}"
    lowered = message[:1].lower() + message[1:]
    return f"expected a command line that makes sense, found: {lowered}; {see}"


def _name_of(error: Exception) -> str:
    param = getattr(error, "param", None)
    if param is None:
        return str(getattr(error, "param_hint", None) or "a value")
    opts = [opt for opt in getattr(param, "opts", ()) if opt.startswith("-")]
    return opts[0] if opts else str(getattr(param, "metavar", None) or param.name).upper()


def say(argv: list[str], sentence: str, code: int) -> None:
    """One sentence for a person, one object for a machine."""
    if "--json" in argv:
        with contextlib.suppress(OSError):
            print(json.dumps({"error": sentence, "exit_code": int(code)}))
    _to_stderr(f"speedrun: {sentence}\n")


def _to_stderr(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody listens any more
        sys.stderr.write(text)
        sys.stderr.flush()


def _flush(code: int) -> int:
    """Write what is still to be written while there is somebody to tell that it cannot be."""
    try:
        sys.stdout.flush()
    except OSError as error:
        broken = isinstance(error, BrokenPipeError)
        if not broken and code in (ExitCode.OK, ExitCode.MISSED):
            _to_stderr(f"speedrun: expected to write all of the output, found: {error.strerror}\n")
        _discard(1)
        if code in (ExitCode.OK, ExitCode.MISSED, BROKEN_PIPE):
            code = BROKEN_PIPE if broken else int(ExitCode.MACHINE)
    try:
        sys.stderr.flush()
    except OSError:
        _discard(2)
    return int(code)


def _discard(number: int) -> None:
    """Nothing that is left in a buffer may fail again when Python ends."""
    with contextlib.suppress(OSError):
        nothing = os.open(NOTHING, os.O_WRONLY)
        os.dup2(nothing, number)
        os.close(nothing)

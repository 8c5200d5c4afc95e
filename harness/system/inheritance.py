"""What a process inherits from whoever started it, made harmless at entry.

A supervisor, cron or a shell may start us with a standard descriptor closed, with SIGCHLD ignored or with signals
blocked. The first socket would then be number 0 and be taken for stdin, children would vanish before they are waited
for, and nobody could stop us. A umask may keep us from our own files, or let everybody write them.
"""

import io
import os
import signal
import stat
import sys
import threading

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
STANDARD = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def put_right(*, utf8: bool = False) -> None:
    """Open /dev/null where 0, 1 or 2 is closed; take SIGCHLD and the mask of signals back to their defaults; make new
    files ours to use and not everybody's to write.

    What the terminal's encoding cannot show becomes a question mark instead of an error; utf8: what is written is for
    machines, and is UTF-8 whatever the locale.
    """
    for number, (name, mode) in enumerate(STANDARD):
        if not _is_open(number):
            _open_null(number)
        if getattr(sys, name) is None:  # Python found it closed when it started
            setattr(sys, name, open(number, mode, closefd=False, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace", encoding="utf-8" if utf8 else None)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(usable(os.umask(OTHERS_WRITE)))


def usable(umask: int) -> int:
    """The same without what it takes from ourselves; who lets everybody write has not thought of it, and lets nobody.

    What it takes from others, and what it gives to a group alone, is the caller's to say.
    """
    umask &= ~stat.S_IRWXU
    return umask if umask & stat.S_IWOTH else umask | OTHERS_WRITE


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _open_null(number: int) -> None:
    descriptor = os.open(os.devnull, os.O_RDWR)
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.set_inheritable(number, True)

"""The record of a run of any kind: begun before anything runs, closed however it ends."""

from collections.abc import Callable
from pathlib import Path

from ..errors import DataError, RunFailure, UserError, machine_sentence
from ..formats.run_folder import Record, RecordFolder
from ..sandbox import cgroups
from ..status import Status
from ..system import processes, scratch
from ..system.interrupts import Interrupts
from . import temporary


def record_to_its_end(
    folder: RecordFolder[Record],
    interrupts: Interrupts,
    first: Record,
    execute: Callable[[], None],
    outcome: Callable[[], str],
    close: Callable[[Status, str], Record],
    *,
    data_root: Path | None = None,
    keep_busy: bool = False,
) -> Record:
    """Execute a run between its first record and its last, which is returned.

    execute: everything that may fail; outcome: what became of it when nothing did, in a sentence; close: the last
    record from status and sentence. Whatever happens, no process and no temporary folder of the run is left, also
    below `data_root`: a signal may have cut the ordinary cleaning short. Of a run that never had the machine nothing
    is kept, unless `keep_busy`.
    """
    status, sentence = Status.REFEREE_FAILED, "the referee itself failed; please report the traceback"
    try:
        with interrupts.raised():
            folder.save(first)
            execute()
        status, sentence = Status.COMPLETE, outcome()
    except RunFailure as failure:
        status, sentence = failure.status, failure.sentence
    except DataError as error:
        status, sentence = Status.DATA_INVALID, str(error)
    except UserError as error:
        status, sentence = Status.LAUNCH_FAILED, str(error)
    except OSError as error:  # a folder that was removed, a disk that fails: the machine's, not ours
        status, sentence = Status.MACHINE_FAILED, machine_sentence(error)
    finally:
        processes.kill_children()
        cgroups.sweep()
        temporary.remove_own()
        if data_root is not None:
            scratch.remove_own(data_root)
        last = close(status, sentence)
        if status == Status.MACHINE_BUSY and not keep_busy:
            folder.discard()
        else:
            folder.close(last)
    return last

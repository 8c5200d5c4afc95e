"""A second copy of a campaign, on another disk: ledger and finished runs as they close, each whole or not at all.

Whenever it is looked at, it verifies as far as it goes, and `--resume` can begin from it. The ledger names an attempt
before its run appears, and tells its outcome afterwards; so the copy follows the same order. A disk that fails is told
of and never ends the campaign: the next copy brings what is missing.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from data.files import replace_file, sync_folder

from ..errors import RecordError, UserError
from ..formats import layout
from ..formats.run_folder import unwritable
from ..system import scratch
from ..system.plainfile import read_plain
from .ledger import MAX_LEDGER_BYTES, read_ledger


class SecondCopy:
    """Keeps a copy of one campaign below a folder; without one it does nothing."""

    def __init__(self, folder: Path, parent: Path | None, on_notice: Callable[[str], None]) -> None:
        """Makes the copy, or brings it up to date. Raises UserError where that folder cannot have it."""
        self._folder, self._parent, self._on_notice = folder.resolve(), parent, on_notice
        if parent is None:
            return
        self._place = parent.resolve() / self._folder.name
        if self._place.is_relative_to(self._folder):
            raise UserError(f"expected --copy-to to name another folder than that of the campaign, found {parent}")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            scratch.sweep(parent)
            self._check_place()
            if not self._place.exists():
                self._begin(parent)
            for entry, outcome in read_ledger(self._folder / layout.LEDGER_FILE).attempts:
                if outcome is not None:
                    self._take_run(parent, entry.run_id)
            self._take_ledger()
        except OSError as error:
            raise unwritable(parent, error) from error

    def keep(self, run_id: str | None = None) -> None:
        """Bring the copy up to date after an entry of the ledger. run_id: of a run that is over and not entered yet."""
        if self._parent is None:
            return
        try:
            if run_id is not None:
                self._take_run(self._parent, run_id)
            else:
                self._take_ledger()
        except OSError as error:
            self._on_notice(f"the copy in {self._parent} is behind: {error.strerror or error}")

    def _check_place(self) -> None:
        """Raises UserError where another campaign, or one that has gone on without us, lies in the place."""
        if not os.path.lexists(self._place):
            return
        try:
            theirs = read_plain(self._place / layout.LEDGER_FILE, MAX_LEDGER_BYTES, RecordError)
        except RecordError as error:
            raise UserError(
                f"expected nothing, or a copy of this campaign, at {self._place}, found: {error}"
            ) from error
        if not read_plain(self._folder / layout.LEDGER_FILE, MAX_LEDGER_BYTES, RecordError).startswith(theirs):
            raise UserError(
                f"expected an older copy of this campaign at {self._place}, found one that went on by itself; resume "
                "that one, or name another folder with --copy-to"
            )

    def _begin(self, parent: Path) -> None:
        """Everything but the runs, in its place by one rename."""
        made = scratch.make_scratch(parent, ".begun")
        try:
            new = made / self._folder.name
            shutil.copytree(self._folder, new, symlinks=True, ignore=self._not_a_run)
            _sync_tree(new)
            new.rename(self._place)
            sync_folder(parent)
        finally:
            scratch.remove_tree(made)

    def _not_a_run(self, folder: str, names: list[str]) -> list[str]:
        return names if Path(folder) == self._folder / layout.RECORD_RUNS_DIR else []

    def _take_run(self, parent: Path, run_id: str) -> None:
        origin, target = (place / layout.RECORD_RUNS_DIR / run_id for place in (self._folder, self._place))
        if target.exists() or not origin.is_dir():
            return
        made = scratch.make_scratch(parent, ".begun")
        try:
            new = made / run_id
            shutil.copytree(origin, new, symlinks=True)
            _sync_tree(new)
            new.rename(target)
            sync_folder(target.parent)
        finally:
            scratch.remove_tree(made)

    def _take_ledger(self) -> None:
        content = read_plain(self._folder / layout.LEDGER_FILE, MAX_LEDGER_BYTES, RecordError)
        replace_file(self._place / layout.LEDGER_FILE, [content])
        if not (self._folder / layout.LANGUAGES_FILE).exists():
            (self._place / layout.LANGUAGES_FILE).unlink(missing_ok=True)  # the ledger has revealed it


def _sync_tree(root: Path) -> None:
    """All of it is on disk before it takes its name."""
    for folder, _, names in os.walk(root):
        for name in names:
            if not os.path.islink(os.path.join(folder, name)):
                descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        sync_folder(Path(folder))

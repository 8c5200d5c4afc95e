"""Belongings: the files of this project that go into a sandbox, as a package of their own."""

import shutil
from pathlib import Path

from . import evaluator, inside

PACKAGE = "speedrun"


def put(folder: Path) -> Path:
    """Copy them into an existing folder. Returns inside.py's copy, which torchrun starts on every rank."""
    package = folder / PACKAGE
    package.mkdir()
    for module in (inside, evaluator):
        assert module.__file__ is not None
        shutil.copy(module.__file__, package)
    return package / "inside.py"

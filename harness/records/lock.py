"""requirements.lock: every package a record ran with, derived from its runs.

`pip install -r requirements.lock` makes the environment again as far as packages go; what else it was stands in the
comments. The same run gives the same bytes.
"""

import re

from ..errors import RecordError
from ..formats.environment import Environment

OURS = "speedrun-referee"
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9.!+_-]+")


def lock_bytes(environment: Environment) -> bytes:
    """`name==version` lines sorted by normalised name, after comments that say what the machine was.

    Raises RecordError where a name or a version is not one: the lines are handed to pip by whoever reproduces.
    """
    packages: dict[str, str] = {}
    for name, version in environment.packages.items():
        if not _PACKAGE.fullmatch(name) or not _VERSION.fullmatch(version):
            raise RecordError(
                f"expected names and versions of packages in a run's environment, found {name!r} {version!r}"
            )
        packages[re.sub(r"[-_.]+", "-", name).lower()] = version
    ours = packages.pop(OURS, None)
    comments = {
        "Python": environment.python,
        "CUDA torch was built for": environment.cuda or "none",
        "GPU": ", ".join(_gpus(environment)) or "none",
        "CPU": f"{environment.cpu_model}, {environment.cpu_cores} cores",
        "Linux": environment.kernel,
        OURS: f"{ours or 'not installed'}, commit {environment.commit or 'unknown'}",
    }
    lines = [f"# {key}: {_one_line(value)}" for key, value in comments.items()]
    lines += [f"{name}=={packages[name]}" for name in sorted(packages)]
    return ("\n".join(lines) + "\n").encode()


def _gpus(environment: Environment) -> list[str]:
    names = [f"{gpu.name} (driver {gpu.driver})" for gpu in environment.gpus]
    return [f"{names.count(name)}x {name}" for name in sorted(set(names))]


def _one_line(text: str) -> str:
    """A comment must not end early: what follows would be read as a package."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)

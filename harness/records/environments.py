"""The environment of a record: its lock, derived from its runs, rebuilt, and how it differs from this one.

`pip install -r requirements.lock` makes the environment again as far as packages go; what else it was stands in the
comments. The same run gives the same bytes.

Packages come as wheels by pip with the user's own configuration, into a folder named after the digest of what was asked
for; a folder that is complete is used again. Only sandboxes are started with its interpreter.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.files import replace_file
from data.printing import printable

from ..errors import RecordError, UserError
from ..formats import layout
from ..formats.environment import OURS, Environment, normalised, site_of
from ..system import processes
from ..system.plainfile import read_plain
from ..system.scratch import remove_tree

MAX_LOCK_BYTES = 2**20
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9.!+_-]+")
COMPLETE = "complete"
_LINE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9.!+_-]+")
_PYTHON = re.compile(r"# Python: (3\.\d{1,3}(?:\.\d{1,3})?)\b")


@dataclass(frozen=True, slots=True)
class EnvironmentLock:
    """Python and packages that runs were made with."""

    python: str
    packages: dict[str, str]  # normalised name -> version

    @property
    def requirements(self) -> tuple[str, ...]:
        return tuple(f"{name}=={version}" for name, version in self.packages.items())


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
        packages[normalised(name)] = version
    ours = packages.pop(OURS, None)
    comments = {
        "Python": environment.python,
        "CUDA torch was built for": environment.cuda or "none",
        "GPU": ", ".join(_gpus(environment)) or "none",
        "CPU": f"{environment.cpu_model}, {environment.cpu_cores} cores",
        "Linux": environment.kernel,
        OURS: f"{ours or 'not installed'}, commit {environment.commit or 'unknown'}",
    }
    # printable: a comment must not end early, what follows would be read as a package
    lines = [f"# {key}: {printable(value)}" for key, value in comments.items()]
    lines += [f"{name}=={packages[name]}" for name in sorted(packages)]
    return ("\n".join(lines) + "\n").encode()


def _gpus(environment: Environment) -> list[str]:
    names = [f"{gpu.name} (driver {gpu.driver})" for gpu in environment.gpus]
    return [f"{names.count(name)}x {name}" for name in sorted(set(names))]


def read_lock(record: Path, environment: Environment) -> EnvironmentLock:
    """A record's requirements.lock; for a record older than those, the lock its first run would give.

    Raises RecordError for lines that are no packages: they are handed to pip.
    """
    path = record / layout.LOCK_FILE
    content = read_plain(path, MAX_LOCK_BYTES, RecordError) if os.path.lexists(path) else lock_bytes(environment)
    python, packages = "", {}
    for line in content.decode(errors="replace").splitlines():
        if match := _PYTHON.match(line):
            python = match[1]
        elif line.strip() and not line.startswith("#"):
            if not _LINE.fullmatch(line):
                raise RecordError(f"expected lines name==version in {path}, found {line[:80]!r}")
            name, _, version = line.partition("==")
            packages[name] = version
    if not python:
        raise RecordError(f"expected a comment `# Python: 3.x.y` in {path}, found none")
    return EnvironmentLock(python, packages)


def differences(lock: EnvironmentLock, here: Environment) -> list[tuple[str, str, str]]:
    """Name, locked and here, for Python and every locked package that differs."""
    installed = {normalised(name): version for name, version in here.packages.items()}
    found = [("Python", lock.python, here.python)] if lock.python != here.python else []
    for name, version in lock.packages.items():
        if installed.get(name) != version:
            found.append((name, version, installed.get(name, "not installed")))
    return found


def find_python(version: str) -> Path | None:
    """An interpreter of this minor version: this one's own base, or one on PATH."""
    minor = ".".join(version.split(".")[:2])
    if minor == f"{sys.version_info.major}.{sys.version_info.minor}":
        return Path(os.path.realpath(sys.executable))
    found = shutil.which(f"python{minor}")
    return Path(found) if found else None


def place_for(parent: Path, python: Path, requirements: Sequence[str]) -> Path:
    """Where the environment of these requirements is, or would be."""
    text = "\n".join([str(python), *requirements])
    return parent / "environments" / hashlib.sha256(text.encode()).hexdigest()[:16]


def build(parent: Path, python: Path, requirements: Sequence[str]) -> Path:
    """Make an environment for a sandbox, or find it complete; returns its interpreter. Shows pip's words on stderr.

    Wheels only, so that nothing of a package is executed when it is installed, by this environment's own pip, so that
    nothing of it is executed afterwards either: its interpreter is for the sandbox alone. Requirements with hashes are
    all there is, without what they depend on. Raises UserError where pip cannot install what was asked for.
    """
    folder = place_for(parent, python, requirements)
    interpreter = folder / "bin" / "python"
    if (folder / COMPLETE).is_file() and interpreter.is_symlink():
        return interpreter
    remove_tree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _call([str(python), "-I", "-m", "venv", "--without-pip", str(folder)], f"a virtual environment of {python}")
    wanted = folder / layout.LOCK_FILE
    replace_file(wanted, [("\n".join(requirements) + "\n").encode()])
    if requirements:
        site = site_of(interpreter)
        pip = [sys.executable, "-I", "-m", "pip", "install", "--only-binary", ":all:", "--no-compile"]
        pip += ["--target", str(site), "--python-version", site.parent.name.removeprefix("python")]
        pip += ["--require-hashes", "--no-deps"] if any("--hash=" in line for line in requirements) else []
        pip += ["--requirement", str(wanted)]
        _call(pip, "every wheel of the lock to be installable with your pip configuration")
    replace_file(folder / COMPLETE, [b""])
    return interpreter


def _call(argv: list[str], expected: str) -> None:
    """Run a command of ours with its output on stderr; the last line of an error goes into the sentence."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    try:
        process = subprocess.Popen(
            argv, env=clean, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", preexec_fn=processes.die_with_parent,
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"expected {expected}, found that {argv[0]} cannot be started ({error.strerror})") from error
    complaint = ""
    with process:
        for line in process.stdout or ():
            sys.stderr.write(line)
            if line.startswith("ERROR") and not complaint:
                complaint = line.strip()
    if process.returncode != 0:
        raise UserError(f"expected {expected}, found: {complaint or 'an error, shown above'}")

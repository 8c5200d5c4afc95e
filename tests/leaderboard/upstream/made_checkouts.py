"""Checkouts made for tests: a repository of the upstream shape, written in one go by git itself."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SMALL, MEDIUM, STEPS = "records/track_1_short", "records/track_2_medium", "records/track_3_optimization"
RULE = "=" * 100 + "\n"
DAY_S = 86_400
START_S = 1_785_542_400  # 2026-08-01, midnight UTC
STEPS_README = """| # | Steps | Evidence | Description | Date | Log | Contributors |
| - | - | - | - | - | - | - |
| 1 | 3000(!) | 3.2790 (n=1)✓ | w | 2026/04/26 | [log](results/20260426_x/a.txt) | [P](http://x/pull/9) @eve |
"""
GPUS = "\n".join(f"|   {i}  NVIDIA H100 80GB HBM3          On  |   00000000:0{i}:00.0 Off |" for i in range(8))
ENVIRONMENT = f"Running Python 3.12.3\nRunning PyTorch 2.10.0+cu128 compiled for CUDA 12.8\n{GPUS}\n"


@dataclass(frozen=True)
class Commit:
    """A commit on a ref, on top of another ref's (or of nothing)."""

    ref: str
    files: dict[str, str]
    on: str = ""
    subject: str = "a commit"
    day: int = 0  # after START_S
    author: str = "Ada"
    removed: tuple[str, ...] = field(default=())


def make_checkout(root: Path, commits: list[Commit]) -> Path:
    """A repository whose HEAD is refs/heads/master. Independent of anybody's configuration."""
    root.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}

    def git(*argv: str, stdin: bytes = b"") -> None:
        subprocess.run(["git", "-C", str(root), *argv], input=stdin, env=environment, capture_output=True, check=True)

    git("-c", "init.defaultBranch=master", "init", "-q")
    git("-c", "fastimport.unpackLimit=0", "fast-import", "--quiet", stdin=b"".join(map(_stream, commits)))
    git("symbolic-ref", "HEAD", "refs/heads/master")
    return root


def _stream(commit: Commit) -> bytes:
    when = f"{START_S + commit.day * DAY_S} +0000"
    lines = [f"commit {commit.ref}", f"author {commit.author} <a@example.org> {when}"]
    lines += [f"committer {commit.author} <a@example.org> {when}", _data(commit.subject)]
    lines += [f"from {commit.on}"] if commit.on not in ("", commit.ref) else []
    lines += [f'D "{path}"' for path in commit.removed]
    lines += [f'M 100644 inline "{path}"\n{_data(text)}' for path, text in commit.files.items()]
    return ("\n".join(lines) + "\n\n").encode()


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}"


def a_log(
    loss: float, ms: int, steps: int = 1200, *, script: str = "print(1)", gpus: bool = True, whole: bool = True
) -> str:
    """As upstream logs since 2026: training lines from step 25 on, one validation at the end."""
    lines = [f"step:{step}/{steps} train_time:{ms * step // steps}ms step_avg:1.00ms" for step in range(25, steps, 25)]
    end = f"step:{steps}/{steps} val_loss:{loss:.4f} train_time:{ms}ms step_avg:1.00ms\n" if whole else ""
    environment = ENVIRONMENT if gpus else "Running Python 3.12.3\n"
    return f"{script}\n{RULE}{environment}{RULE}Resetting Model\n" + "\n".join(lines) + "\n" + end


def a_steps_log(loss: float, step: int, total: int, *, script: str = "print(3)") -> str:
    return f"{script}\n{RULE}step:{step}/{total} val_loss:{loss:.5f} train_time:9.000s step_avg:3.00ms\n"


def package(**files: str) -> str:
    """Source of several files as a log embeds it; of a name, __ is a slash and _dot_ a dot."""
    banner = "-" * 40
    parts = [files.pop("main", "")]
    for name, text in files.items():
        path = name.replace("__", "/").replace("_dot_", ".")
        parts.append(f"\n{banner}\n# {path}\n{banner}\n\n{text}\n")
    return "".join(parts)


def base(table: str, files: dict[str, str] | None = None) -> dict[str, str]:
    """The least that is a checkout of modded-nanogpt: three tables, and a log for those that are not tested."""
    readme = f"# sample\n| # | Record time | Description | Date | Log | Contributors |\n{table}\n| # | Record time |\n"
    readme += f"1 | 5.8 hours | medium | 05/28/24 | [log]({MEDIUM}/2025_M/m.txt) | @ada\n"
    return {
        "README.md": readme,
        "train_gpt.py": "print(0)\n",
        f"{STEPS}/README.md": STEPS_README,
        f"{MEDIUM}/2025_M/m.txt": a_log(2.91, 20_000_000),
        f"{STEPS}/results/20260426_x/a.txt": a_steps_log(3.279, 3000, 3000),
        **(files or {}),
    }

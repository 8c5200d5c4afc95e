"""A loopback Hub with a small dataset, and the console command that fetches from it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from data.shards import HEADER_BYTES, write_shard
from tests.data.hub.loopback_hub import LoopbackHub

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = ROOT.parent / "shared" / "data"
SHARD_TOKENS = 200_000
TRAIN_SHARDS = 3
# Of whoever runs the tests: a token, a mirror, a proxy, a taste for colours
THEIRS = ("HF_", "HUGGING", "FORCE_COLOR", "CLICOLOR", "PY_COLORS", "ALL_PROXY", "all_proxy", "no_proxy")

MANIFEST = f"""\
schema_version = 1
name = "tiny"
title = "Random tokens"
licence = "MIT"
kind = "hub"
repository = "maker/tiny-gpt2"
revision = "main"
vocab_size = 50257
document_token = 50256
vocabulary = "gpt2"
train_file_pattern = "tiny_train_{{index:06d}}.bin"
train_shards = {TRAIN_SHARDS}
val_file = "tiny_val_000000.bin"
val_tokens = {SHARD_TOKENS}
"""


def make_shards(folder: Path, seed: int) -> dict[str, bytes]:
    """{file name: bytes} of the small dataset."""
    rng = np.random.default_rng(seed)
    names = ["tiny_val_000000.bin", *(f"tiny_train_{index:06d}.bin" for index in range(1, TRAIN_SHARDS + 1))]
    made = {}
    for name in names:
        write_shard(folder / name, rng.integers(0, 50257, SHARD_TOKENS, dtype=np.uint16))
        made[name] = (folder / name).read_bytes()
        assert len(made[name]) == HEADER_BYTES + 2 * SHARD_TOKENS
    return made


@dataclass(slots=True)
class Command:
    """`speedrun data ...` in a world of its own."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str | Path, **more: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "harness", "data", *map(str, arguments)]
        ours = {name: value for name, value in os.environ.items() if not name.startswith(THEIRS)}
        env = ours | {"SPEEDRUN_DATA": str(self.root), "COLUMNS": "300"} | self.environment | more
        return subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __call__(self, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **more)
        try:
            stdout, stderr = process.communicate(timeout=600)
        finally:
            process.kill()
            process.wait()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path / "data", {"HF_HUB_OFFLINE": "1"})


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    hub = LoopbackHub()
    hub.publish(make_shards(tmp_path_factory.mktemp("published"), seed=1))
    hub.start()
    yield hub
    hub.stop()


@pytest.fixture
def make_command(hub: LoopbackHub, tmp_path: Path) -> Callable[[str], Command]:
    """A command that knows the dataset `tiny` of the loopback Hub, in a data root called so."""

    def make(name: str) -> Command:
        root = tmp_path / name
        (root / "tiny").mkdir(parents=True)
        (root / "tiny" / "dataset.toml").write_text(MANIFEST)
        home = tmp_path / f"home-{name}"
        return Command(
            root,
            {
                "HF_ENDPOINT": hub.endpoint,
                "HF_HOME": str(home),
                "HF_HUB_OFFLINE": "0",
                "HF_HUB_DOWNLOAD_TIMEOUT": "120",  # a busy machine is no silence; the test of silence asks for less
                "NO_PROXY": "127.0.0.1",
            },
        )

    return make


@pytest.fixture
def fetching(make_command: Callable[[str], Command]) -> Command:
    return make_command("root")


@pytest.fixture
def shakespeare() -> Path:
    """The text of tiny Shakespeare, where this machine has it."""
    path = SHARED / "tinyshakespeare.txt"
    if not path.is_file():
        pytest.skip(f"tiny Shakespeare's text is not at {path}")
    return path


@pytest.fixture
def gpt2() -> Iterator[str]:
    """The folder of GPT-2's real vocabulary, which is then in TIKTOKEN_CACHE_DIR too."""
    path = SHARED / "tiktoken"
    if not path.is_dir():
        pytest.skip(f"GPT-2's vocabulary is not at {path}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(path))
        yield str(path)

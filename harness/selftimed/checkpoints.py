"""Checkpoints of other trainers, scored by our judge on the whole validation split.

Their model comes from the user's own checkout and runs in the sandboxed evaluators; the checkpoint reaches it as
sealed bytes, which an adapter loads with `weights_only=True`. The judge sees logits and nothing else.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from data import datasets

from ..errors import RunFailure, UserError
from ..formats.logfile import LogFile
from ..formats.observer import Observer
from ..formats.run import Score
from ..formats.track import Track
from ..formats.weights import TensorSpec, WeightBuffer
from ..referee import machine
from ..sandbox import belongings
from ..sandbox.policy import Limits, View
from ..scoring.scorer import EvaluatorSettings, Scorer, ScoreRequest
from ..status import Status
from .workcopy import ScriptCheckout, find_sources

FOLDER = Path(belongings.__file__).resolve().parent / "adapters"
CHUNK_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class Adapter:
    """companions: files beside the checkpoint that its model is made from; mark: what its checkouts have."""

    file: str
    mark: str
    companions: tuple[str, ...] = ()


ADAPTERS = {
    "nanogpt": Adapter("nanogpt.py", "configurator.py"),
    "mingpt": Adapter("mingpt.py", "mingpt/model.py", companions=("config.json",)),
}


def find_adapter(name: str, checkout: ScriptCheckout) -> str:
    """The adapter of this name; `auto`: the one whose mark the checkout has. Raises UserError."""
    if name in ADAPTERS:
        return name
    found = [key for key, adapter in ADAPTERS.items() if (checkout.root / adapter.mark).is_file()]
    if name == "auto" and found:
        return found[0]
    known = ", ".join(ADAPTERS)
    raise UserError(f"expected an adapter for the checkpoint out of {known}, found {name!r} and a checkout of neither")


def score_checkpoint(
    files: dict[str, Path],
    adapter: str,
    checkout: ScriptCheckout,
    track: Track,
    data_root: Path,
    *,
    level: str,
    device: str,
    temporary: Path,
    log: LogFile,
    observer: Observer,
) -> Score:
    """files: `checkpoint` and the adapter's companions, by name. temporary: an empty folder of this run's.

    Raises RunFailure.
    """
    dataset = datasets.load_dataset(track.data.dataset)
    digests = datasets.verify(dataset, data_root, track.data.train_shards)
    scored, place, home = temporary / "scored", temporary / "ours", temporary / "scored-home"
    for folder in (scored, place, home):
        folder.mkdir()
    for source in find_sources(checkout.root):
        target = scored / source.relative_to(checkout.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    shutil.copyfile(FOLDER / ADAPTERS[adapter].file, scored / "speedrun_adapter.py")
    belongings.put(place)
    settings = EvaluatorSettings(
        level=level,
        view=View(
            readable=(place, scored),
            hidden=(data_root / dataset.name,),
            home=home,
            cuda=device == "cuda",
            limits=Limits(memory_bytes=track.budget.memory_bytes, processes=track.budget.processes),
        ),
        inside=place,
        entry=scored / "speedrun_adapter.py",
        seed=0,
        device=device,
        threads=len(machine.cores(track)),
    )
    (temporary / "vocab_size").write_text(str(dataset.vocab_size))
    buffer = _sealed({**files, "vocab_size": temporary / "vocab_size"})
    try:
        return Scorer(settings, log, observer).score([buffer], _score_request(track, dataset, data_root, digests))
    finally:
        buffer.close()


def _score_request(track: Track, dataset: datasets.Dataset, data_root: Path, digests: dict[str, str]) -> ScoreRequest:
    return ScoreRequest(
        val_path=datasets.val_path(dataset, data_root),
        val_sha256=digests.get(dataset.val_file),
        val_tokens=track.data.val_tokens,
        vocab_size=dataset.vocab_size,
        max_tokens=track.evaluation.max_tokens,
        max_batch_tokens=track.evaluation.max_batch_tokens,
        probe_pairs=track.evaluation.probe_pairs,
        leak_standard_errors=track.evaluation.leak_standard_errors,
        shadow_tokens=track.evaluation.shadow_tokens,
        shadow_source="fresh" if dataset.kind == "embedded" else "rest",
        relabelling_key=None,
        budget_s=track.budget.score_s,
    )


def _sealed(files: dict[str, Path]) -> WeightBuffer:
    """Files as one sealed buffer of byte tensors. Raises RunFailure where memory does not hold them."""
    specs, offset = [], 0
    for name, path in files.items():
        size = path.stat().st_size
        specs.append(TensorSpec(name=name, dtype="uint8", shape=(size,), offset=offset, bytes=size))
        offset += size
    buffer = WeightBuffer(tuple(specs))
    try:
        buffer.allocate()
        for spec, path in zip(specs, files.values(), strict=True):
            with path.open("rb") as file:
                at = spec.offset
                while chunk := file.read(CHUNK_BYTES):
                    at += os.pwrite(buffer.fd, chunk, at)
    except OSError as error:
        buffer.close()
        raise RunFailure(
            Status.WEIGHTS_TOO_BIG, f"the checkpoint cannot be held in memory: {error.strerror}"
        ) from error
    buffer.seal()
    return buffer

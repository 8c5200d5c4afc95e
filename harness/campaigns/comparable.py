"""Runs join one sample only if they are alike: the same kind of machine, software, data and sandbox.

Clocks, temperature, throttling and whoever else was on the machine differ between any two runs: they are recorded and
shown, and not asked to be equal.
"""

from collections import Counter
from collections.abc import Mapping

from ..formats.environment import Environment
from ..formats.run import RunRecord, TextFacts
from ..selftimed.record import SelfTimedRecord

Fingerprint = Mapping[str, str | None]  # what has to be alike, as text for a person; None: the run did not get so far
Difference = tuple[str, str, str]  # key, the value of one, the value of the other


def differences(a: RunRecord, b: RunRecord) -> list[Difference]:
    """What keeps two runs from standing in one sample; a value that a failed run never reached is no difference."""
    return compare(fingerprint(a), fingerprint(b))


def fingerprint(run: RunRecord | SelfTimedRecord) -> Fingerprint:
    """What of a run has to be alike. The data of a self-timed script is held to its campaign's plan instead."""
    if isinstance(run, SelfTimedRecord):
        return {**machine_fingerprint(run.environment, run.device, run.script.world_size), "sandbox": run.sandbox}
    facts = machine_fingerprint(run.environment, run.device, run.world_size)
    data = data_fingerprint(run.data) if run.text is None else text_fingerprint(run.track.dataset, run.text)
    return {**facts, "sandbox": run.sandbox, **data}


def machine_fingerprint(environment: Environment, device: str, world_size: int) -> Fingerprint:
    """The part of it that is known before a run is started."""
    models = Counter(gpu.name for gpu in environment.gpus)
    return {
        "device": device,
        "GPUs": ", ".join(f"{count}x {name}" for name, count in sorted(models.items())) or "none",
        "driver": ", ".join(sorted({gpu.driver for gpu in environment.gpus})) or "none",
        "CUDA": environment.cuda or "none",
        "torch": environment.torch or "none",
        "python": environment.python,
        "world_size": str(world_size),
        "CPU model": environment.cpu_model,
        "CPU cores": str(environment.cpu_cores),
    }


def compare(a: Fingerprint, b: Fingerprint) -> list[Difference]:
    """The keys that both sides know and that differ."""
    pairs = [(key, a[key], b[key]) for key in a if key in b]
    found = [(key, x, y) for key, x, y in pairs if x is not None and y is not None and x != y]
    return found + _unpaired_data(a, b)


def data_fingerprint(data: Mapping[str, str]) -> Fingerprint:
    """The digest of every shard."""
    return {f"data {name}": digest for name, digest in sorted(data.items())}


def text_fingerprint(dataset: str, text: TextFacts) -> Fingerprint:
    """Of runs in languages of their own: the same recipe and sizes; no two of them need share a digest."""
    sizes = f"{text.train_tokens:,} tokens to train on and {text.val_tokens:,} to validate"
    return {"data text": f"{dataset}, recipe {text.recipe}, {sizes}"}


def _unpaired_data(a: Fingerprint, b: Fingerprint) -> list[Difference]:
    """Shards that only one side read, where both sides read any."""
    x, y = ({key for key in facts if key.startswith("data ")} for facts in (a, b))
    if not x or not y:
        return []
    return [(key, "read" if key in x else "not read", "read" if key in y else "not read") for key in sorted(x ^ y)]

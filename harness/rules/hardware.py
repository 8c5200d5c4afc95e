"""Whether a machine is of a track's class: asked of the runs of a record, and before the first of them."""

from collections.abc import Sequence

from ..formats.track import Hardware


def machine_breach(
    wanted: Hardware, device: str, world_size: int, gpus: Sequence[str], cpu_cores: int
) -> tuple[str, str, str] | None:
    """What keeps a machine out of a track's class: what is wrong, what was expected, what was found.

    gpus: the names of all that are seen.
    """
    names = sorted(set(gpus))
    fits = all(any(model in name for model in wanted.gpu_models) for name in names)
    if wanted.device != "any" and device != wanted.device:
        return "another device", wanted.device, device
    if device == "cuda" and wanted.gpu_models and (not names or not fits):
        return "other GPUs", " or ".join(wanted.gpu_models), " and ".join(names) or "none"
    if device == "cuda" and (len(names) > 1 or len(gpus) < world_size):
        return (
            "a mixed or short set of GPUs",
            f"{world_size} of one model",
            f"{len(gpus)} of {' and '.join(names) or 'no model'}",
        )
    if world_size not in _ranks(wanted):
        return "another number of ranks", " or ".join(map(str, _ranks(wanted))), str(world_size)
    if wanted.cpu_cores is not None and cpu_cores < wanted.cpu_cores:
        return "too few cores", f"at least {wanted.cpu_cores}", str(cpu_cores)
    return None


def _ranks(wanted: Hardware) -> Sequence[int]:
    """On CPU cores a submission chooses how to split them among ranks and threads; a GPU is a rank."""
    return range(1, wanted.max_world_size + 1) if wanted.device == "cpu" else (wanted.world_size,)

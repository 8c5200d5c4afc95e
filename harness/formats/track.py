"""A track is a contest: dataset, metric, target, budget, hardware class, significance test, rules.

It is one TOML file, `records/<track>/track.toml`, with a closed schema: an unknown key is an error, so that a
misspelt limit cannot silently be no limit. `rules_version` changes whenever a number here changes who wins; where
results before and after can no longer be compared its major part changes, which opens a new standing.
"""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import TrackError, first_problem
from ..system.clock import NS
from ..system.plainfile import read_plain, read_toml
from . import layout
from .environment import gpus

MAX_TRACK_BYTES = 2**20
Positive = Annotated[int, Field(gt=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
SourceRule = Literal[
    "unreadable_file", "hidden_text", "compile_flag", "dynamic_code", "decoded_literal", "blob", "number_table",
    "literal_budget", "source_budget", "foreign_import", "long_line", "environment_switch", "own_seed", "patched_clock",
    "patched_counter", "before_go", "outside_path",
]  # fmt: skip
WaivableRule = SourceRule | Literal["sandbox_level", "uncounted_attempts"]  # no statistic and no digest is ever waived


class TrackSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(TrackSection):
    dataset: str  # a manifest of data/manifests
    train_shards: Positive | None = None  # the first so many; None: all of the dataset
    val_tokens: Positive  # targets scored: the first so many of the validation shard


class Hardware(TrackSection):
    device: Literal["cpu", "cuda", "any"]
    world_size: Positive  # ranks, unless --nproc says otherwise
    max_world_size: Positive
    cpu_cores: Positive | None = None  # ranks and their threads are held to so many cores
    gpu_models: Annotated[
        tuple[str, ...], Field(strict=False)
    ] = ()  # a GPU qualifies if its name contains one of these


class Budget(TrackSection):
    prepare_s: PositiveSeconds
    prepare_free_cpu_s: NotNegative | None = None  # of PREPARE, beyond a launch; the rest is charged. None: all
    train_s: PositiveSeconds
    score_s: PositiveSeconds
    source_bytes: Positive
    weights_bytes: Positive
    log_bytes: Positive = 16 * 2**20
    memory_bytes: Positive = 2**36  # of the machine's, by all processes of a submission and the files they write
    processes: Positive = 4096  # and threads


class Evaluation(TrackSection):
    max_tokens: Positive  # longest window the evaluator may ask for
    max_batch_tokens: Positive  # most tokens in one batch
    probe_pairs: Annotated[int, Field(ge=0)] = 32
    probe_tolerance_nats: PositiveSeconds = 0.05  # largest |difference| of one token's loss within a pair
    leak_standard_errors: NotNegative = 0.0  # above what probes show of a leak lies what is charged; 0: nothing is
    shadow_tokens: Annotated[int, Field(ge=0)] = 0  # asked like the rest, not scored; 0: no shadow text
    shadow_tolerance_nats: PositiveSeconds = 0.1  # largest gap: six standard errors of an honest model or more
    repeat_tolerance_nats: PositiveSeconds = 0.001  # of first windows asked again: |difference| of one token's loss
    answer_slack_s: NotNegative = 0.02  # so much of the first answer costs nothing, or
    answer_slack_share: Annotated[float, Field(ge=0, lt=1)] = 0.005  # so much of the run's own time, if that is less;
    weights_bytes_per_s: PositiveSeconds = 4e9  # and reading the weights at this rate

    def free_answer_ns(self, train_ns: int, weights_bytes: int) -> int:
        """What the first answer of a run may take at no charge.

        The share is of the run's own time between GO and STOP: whoever would beat the standing record has less than
        its share, no record has to be looked up, and anybody can compute it again from the run alone.
        """
        slack_s = min(self.answer_slack_s, self.answer_slack_share * train_ns / NS)
        return int((slack_s + weights_bytes / self.weights_bytes_per_s) * NS)


class Significance(TrackSection):
    test: Literal["t", "z", "welch"]
    alpha: Share
    sigma: PositiveSeconds | None = None  # z only: the known standard deviation of val_loss


class Rules(TrackSection):
    """What a record must hold besides the significance test."""

    min_runs: Positive = 3  # of the candidate; a t-test has no power below
    faster_alpha: Share = 0.01  # paired one-sided t on log time, candidate against the standing record
    equal_loss_margin_nats: PositiveSeconds = 0.002  # "systems" claims: the mean losses differ by less (TOST)
    sandbox: Literal["process", "landlock", "namespaces"] = "process"  # the least a run must have had
    uncounted_share: Share = 0.5  # attempts the machine or the referee ended, per slot, at most
    time_spread: Share = 0.05  # sd / mean of an arm's times; above: warning
    baseline_offset: Share = 0.1  # the baseline's time may lie so far from its record's own, on like hardware
    budget_share: Share = 0.9  # of a time budget; above: warning
    record_bytes: Positive = 2**20  # of the record's folder
    before_go_share: Share | None = None  # backward passes before GO, of those after it, at most; None: any number
    before_go_passes: Annotated[int, Field(ge=0)] = 32  # of each rank are always allowed: kernels want to be warm

    blocking: Annotated[tuple[SourceRule, ...], Field(strict=False)] = (
        "unreadable_file", "hidden_text", "compile_flag", "dynamic_code", "decoded_literal", "blob",
        "number_table", "literal_budget", "source_budget", "foreign_import", "patched_counter",
    )  # fmt: skip
    waivable: Annotated[tuple[WaivableRule, ...], Field(strict=False)] = ()
    imports: Annotated[tuple[str, ...], Field(strict=False)] = ("torch", "numpy", "triton")  # and the standard library
    compile_flags: Annotated[tuple[str, ...], Field(strict=False)] = ()  # of torch._inductor.config, allowed here
    compressed_bytes: Positive = 100_000  # of the whole source, by zlib
    literal_bytes: Positive = 4096  # of one string or bytes literal, by zlib
    literals_bytes: Positive = 32_768  # of all literals and of files that are not source, by zlib
    table_numbers: Positive = 256  # in one list, tuple, set or dict
    line_length: Positive = 300  # characters


class Track(TrackSection):
    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    rules_version: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    metric: Literal["train_time", "steps", "val_loss"]
    target_val_loss: float | None = None  # nats per token; None where the lowest loss wins
    refereed: bool = True  # False: the harness cannot hold this track's rules yet; results are `reported`
    notes: str = ""
    data: Data
    hardware: Hardware
    budget: Budget
    evaluation: Evaluation
    significance: Significance
    rules: Rules = Rules()
    sha256: str = ""  # digest of the file it came from

    @property
    def major(self) -> int:
        """Of its rules: results of another one are of another standing."""
        return rules_major(self.rules_version)


def rules_major(version: str) -> int:
    """2 of "2.1": what opens a new standing when it changes. Raises ValueError for what is no version."""
    return int(version.partition(".")[0])


def load_track(name_or_path: str) -> Track:
    """The track called so in records/, or the track of a folder or a track.toml.

    Raises TrackError with the known names, or with the offending key.
    """
    path = find_track(name_or_path)
    try:
        raw = read_plain(path, MAX_TRACK_BYTES, TrackError)
    except TrackError as error:
        raise TrackError(f"expected a track file at {path}, found none that can be read: {error}") from error
    try:
        return Track.model_validate({**read_toml(raw, path, TrackError), "sha256": hashlib.sha256(raw).hexdigest()})
    except ValidationError as error:
        raise TrackError(f"{path}: {first_problem(error)}; see the schema in harness/formats/track.py") from error


def list_tracks() -> list[Track]:
    """Every track of this checkout, by name."""
    return [load_track(str(path)) for path in layout.track_files()]


def default_track() -> str:
    """The track for this machine when none is named: by its GPUs."""
    count = len(gpus())
    return "gpt2-small-8xh100" if count >= 8 else "gpt2-small-1gpu" if count else "nano-2cpu"


def find_track(name_or_path: str) -> Path:
    """The file of the track called so. Raises TrackError with the known names."""
    path = Path(name_or_path)
    if os.path.isdir(path):  # unlike Path.is_dir, also with a name no file system would take
        return path / layout.TRACK_FILE
    if os.path.isfile(path):
        return path
    found = layout.track_file(name_or_path)
    if not os.path.isfile(found):
        known = ", ".join(p.parent.name for p in layout.track_files())
        raise TrackError(f"expected one of the tracks {known} or a path to a track.toml, found {name_or_path!r}")
    return found

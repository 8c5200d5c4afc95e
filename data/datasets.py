"""Datasets: what they are, where they lie, whether their bytes are the right ones.

A dataset is described by a manifest, `manifests/NAME.toml` here or `dataset.toml` beside the shards of one's own
making, and lies under a root folder in the layout of the NanoGPT speedrun: `ROOT/NAME/<shards>`, one validation
shard and training shards numbered from 1.
"""

import json
import os
import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from . import lockfile
from .digests import Digest, Progress, measure
from .errors import DataError
from .files import TEMPORARY_SUFFIX, FileName, locked, read_small, replace_file

ROOT_VARIABLE = "SPEEDRUN_DATA"
FIRST_SHARD = 1

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]*$")

_PROJECT_ROOT = Path(__file__).resolve().parent
_MANIFESTS = _PROJECT_ROOT / "manifests"
_OWN_MANIFEST = "dataset.toml"
MAX_MANIFEST_BYTES = 2**20
_LOCK_NAME = ".lock"


class Dataset(BaseModel):
    """One manifest. Counts are in tokens, digests are SHA-256 of whole files; None means unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schema_version: Literal[1]
    name: str = Field(pattern=NAME.pattern)
    title: str
    licence: str
    kind: Literal["embedded", "hub", "local"]
    repository: str | None = None
    """Hub only: the repository that serves the shards."""
    revision: str | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    """Embedded only: what the shards are generated from."""
    vocab_size: int = Field(ge=1, le=2**16)
    document_token: int | None = Field(default=None, ge=0)
    """The token every document starts with."""
    train_file_pattern: FileName
    train_shards: int = Field(ge=1)
    train_tokens: int | None = Field(default=None, ge=1)
    val_file: FileName
    val_tokens: int | None = Field(default=None, ge=1)
    vocabulary: Literal["gpt2", "characters", "words"] | None = None
    """How tokens become text: tiktoken's gpt2, `characters`, or the words of the embedded corpus."""
    characters: str | None = None
    """The characters in the order of their tokens."""
    train_documents: int | None = Field(default=None, ge=0)
    """Documents that start in a training shard; one that a cut divides belongs to where it starts."""
    val_documents: int | None = Field(default=None, ge=0)
    train_bytes: int | None = Field(default=None, ge=0)
    """UTF-8 bytes of the text behind the tokens, measured on the text itself."""
    val_bytes: int | None = Field(default=None, ge=0)
    repeated_documents: int | None = Field(default=None, ge=0)
    """Training documents that also occur in validation and were kept on demand."""
    skipped_documents: int | None = Field(default=None, ge=0)
    """Documents of the inputs that could not be decoded or encoded and were left out on demand."""
    skipped: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """How many of them each input had, by its name."""
    sha256: dict[FileName, Digest] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _kind_has_its_fields(self) -> Self:
        if (self.kind == "hub") != (self.repository is not None and self.revision is not None):
            raise ValueError("repository and revision belong to kind 'hub', and to it alone")
        if (self.kind == "embedded") != (self.seed is not None):
            raise ValueError("seed belongs to kind 'embedded', and to it alone")
        if self.kind == "embedded" and (self.train_tokens is None or self.val_tokens is None):
            raise ValueError("an embedded dataset states train_tokens and val_tokens")
        if self.document_token is not None and self.document_token >= self.vocab_size:
            raise ValueError("document_token must lie within the vocabulary")
        if (self.vocabulary == "characters") != (self.characters is not None):
            raise ValueError("characters belong to vocabulary 'characters', and to it alone")
        if self.characters is not None and len(self.characters) != self.vocab_size:
            raise ValueError("characters must be as many as vocab_size")
        return self

    def train_files(self) -> list[str]:
        """Return the names of the training shards in order."""
        indices = range(FIRST_SHARD, FIRST_SHARD + self.train_shards)
        return [self.train_file_pattern.format(index=index) for index in indices]


def list_datasets() -> list[str]:
    """Return the names of all known datasets, sorted: those of the project and those made under the data root."""
    own = {path.parent.name for path in data_root().glob(f"*/{_OWN_MANIFEST}")}
    return sorted(own | {path.stem for path in _MANIFESTS.glob("*.toml")})


def load_dataset(name: str) -> Dataset:
    """Return the dataset called `name`; DataError if there is none or its manifest breaks the schema."""
    if name not in list_datasets():
        raise DataError(f"expected one of the datasets {', '.join(list_datasets())}, found '{name}'; choose one.")
    known = manifest_path(name)
    return read_manifest(known if known.is_file() else own_manifest_path(data_root() / name))


def manifest_path(name: str) -> Path:
    """Return where the project's own manifest of `name` lies, present or not."""
    return _MANIFESTS / f"{name}.toml"


def own_manifest_path(folder: Path) -> Path:
    """Return where the manifest of a dataset of one's own making lies, present or not."""
    return folder / _OWN_MANIFEST


def read_manifest(path: Path) -> Dataset:
    """Return the dataset that the manifest `path` describes; DataError if it breaks the schema."""
    try:
        return Dataset.model_validate(tomllib.loads(read_small(path, MAX_MANIFEST_BYTES).decode()))
    except (OSError, ValueError, RecursionError) as error:  # of UTF-8, TOML, its numbers, its nesting, the schema
        found = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise DataError(f"{path}: expected a manifest of schema 1, found {found}; mend the file.") from error


def write_manifest(path: Path, dataset: Dataset) -> None:
    """Write `dataset` to `path`, atomically; what is None stays out."""
    fields = dataset.model_dump(exclude_none=True)
    tables: dict[str, dict[str, str | int]] = {key: fields.pop(key) for key in ("skipped", "sha256")}
    lines = [f"{key} = {_toml(value)}" for key, value in fields.items()]
    for key, table in tables.items():
        if table:
            lines += ["", f"[{key}]", *(f"{_toml(name)} = {_toml(value)}" for name, value in table.items())]
    replace_file(path, ["\n".join([*lines, ""]).encode()])


def _toml(value: str | int) -> str:
    """TOML's basic strings escape as JSON does, save for the one control character that JSON lets through."""
    if isinstance(value, int):
        return f"{value:_}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def data_root() -> Path:
    """Return the folder datasets lie in: $SPEEDRUN_DATA, else the project's own `data/`."""
    configured = os.environ.get(ROOT_VARIABLE)
    return Path(configured).expanduser().resolve() if configured else _PROJECT_ROOT


def train_paths(dataset: Dataset, root: Path, shards: int | None = None) -> list[Path]:
    """Return where the first `shards` training shards lie (all of them by default), present or not."""
    count = dataset.train_shards if shards is None else shards
    if not 1 <= count <= dataset.train_shards:
        raise DataError(
            f"{dataset.name}: expected 1 to {dataset.train_shards} training shards, found {count}; ask for fewer."
        )
    return [root / dataset.name / file for file in dataset.train_files()[:count]]


def train_sizes(dataset: Dataset) -> list[int]:
    """Return how many tokens each training shard of an embedded dataset holds."""
    assert dataset.train_tokens is not None
    share = -(-dataset.train_tokens // dataset.train_shards)
    return [min(share, dataset.train_tokens - start) for start in range(0, dataset.train_tokens, share)]


def val_path(dataset: Dataset, root: Path) -> Path:
    """Return where the validation shard lies, present or not."""
    return root / dataset.name / dataset.val_file


def missing_files(dataset: Dataset, root: Path, shards: int | None = None) -> list[Path]:
    """Return the shards that are not there: validation, and the first `shards` training shards (default all)."""
    return [path for path in _shard_paths(dataset, root, shards) if not path.is_file()]


def verify(
    dataset: Dataset,
    root: Path,
    shards: int | None = None,
    *,
    progress: Progress | None = None,
    afresh: bool = False,
) -> dict[str, str]:
    """Check the validation shard and the first `shards` training shards and return {file name: sha256}.

    Headers, lengths, token counts and digests must be what the manifest and the lock file say; what both leave
    open is measured, returned, and pinned in the lock file, so that a later difference is an error. Digests are
    remembered with each file's size and mtime_ns, so that only changed files are hashed again, or all with
    `afresh`. Of shards whose bytes nobody but this machine vouches for, documents are compared too: training data must
    not hold those of validation, unless the manifest says how many it does. Raises DataError naming the file, what was
    expected and what was found.
    """
    for path in missing_files(dataset, root, shards):
        raise DataError(f"{path}: expected a shard, found no file; {_remedy(dataset, shards)}.")
    from .overlap import LEAST_TOKENS, refuse_repeats_between
    from .shards import read_header  # numpy: a tenth of a second that nobody pays to look at a manifest

    paths = _shard_paths(dataset, root, shards)
    token_counts = [read_header(path) for path in paths]
    digests = measure(paths, progress=progress, afresh=afresh)
    for path in paths:
        expected = dataset.sha256.get(path.name, digests[path.name])
        _expect(dataset, path, "sha256", expected, digests[path.name])
    if dataset.kind != "embedded":
        _hold_to_pins(dataset, root, paths, digests)
    twin = next((path.name for path in paths[1:] if digests[path.name] == digests[paths[0].name]), None)
    if twin is not None and token_counts[0] >= LEAST_TOKENS and not dataset.repeated_documents:
        raise DataError(f"{dataset.name}: expected training data without the validation shard, found it as {twin}.")
    if not dataset.repeated_documents and not _is_known_by_digest(dataset, root, paths):
        refuse_repeats_between(paths, digests, dataset.document_token, dataset.name, afresh=afresh)
    _expect(dataset, paths[0], "token count", dataset.val_tokens or token_counts[0], token_counts[0])
    if dataset.train_tokens is not None and len(paths) == 1 + dataset.train_shards:
        _expect(dataset, root / dataset.name, "training tokens", dataset.train_tokens, sum(token_counts[1:]))
    return digests


def lock_path(dataset: Dataset, root: Path) -> Path:
    """Return the file whose lock one process at a time holds while it makes or fetches shards."""
    return root / dataset.name / _LOCK_NAME


def prepare(dataset: Dataset, root: Path, progress: Progress | None = None) -> None:
    """Make sure every shard of `dataset` lies under `root` and is the right one.

    An embedded dataset is built where files are missing or broken; several processes may ask at once, one builds
    and the others wait. A killed build leaves whole shards or none. Other kinds are only verified. Raises
    DataError, which for them says how to get the files. Data that is complete needs no lock and no writing.
    """
    if dataset.kind != "embedded":
        verify(dataset, root)
        return
    if not missing_files(dataset, root):
        with suppress(DataError):  # a broken shard is built again
            verify(dataset, root)
            return
    folder = root / dataset.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(lock_path(dataset, root)):
            _build_missing(dataset, root, progress)
            verify(dataset, root)
    except OSError as error:
        raise DataError(
            f"{folder}: expected to build {dataset.name} there, found '{error.strerror}'; make room or mend its "
            f"permissions, or move the data with {ROOT_VARIABLE}."
        ) from error


def _shard_paths(dataset: Dataset, root: Path, shards: int | None) -> list[Path]:
    return [val_path(dataset, root), *train_paths(dataset, root, shards)]


def _remedy(dataset: Dataset, shards: int | None = None) -> str:
    if dataset.kind == "local":
        return f"make it again with `speedrun data import FILE --name {dataset.name}` or `speedrun data tokenize`"
    if dataset.kind == "embedded":
        return f"run `speedrun data prepare {dataset.name}`"
    return f"run `speedrun data download {dataset.name}{'' if shards is None else f' --shards {shards}'}`"


def _hold_to_pins(dataset: Dataset, root: Path, paths: list[Path], digests: dict[str, str]) -> None:
    lock = lockfile.read_lock(root, dataset.name)
    for path in paths:
        if (pin := lock.files.get(path.name)) is not None:
            what = f"sha256 (pinned in {lockfile.lock_path(root, dataset.name).name})"
            _expect(dataset, path, what, pin.sha256, digests[path.name])
    unseen = [path for path in paths if path.name not in lock.files and path.name not in dataset.sha256]
    if unseen:
        lockfile.pin_from_disk(root, dataset.name, {path: digests[path.name] for path in unseen})


def _is_known_by_digest(dataset: Dataset, root: Path, paths: list[Path]) -> bool:
    """Whether the bytes are those that we built, or that the Hub or a manifest of ours states."""
    if dataset.kind == "embedded":
        return True
    stated = dataset.sha256.keys() if manifest_path(dataset.name).is_file() else set()
    pins = lockfile.read_lock(root, dataset.name).files
    return all(path.name in stated or (path.name in pins and pins[path.name].origin == "hub") for path in paths)


def _expect(dataset: Dataset, path: Path, what: str, expected: object, found: object) -> None:
    if found != expected:
        raise DataError(f"{path}: expected {what} {expected}, found {found}; {_remedy(dataset)}.")


def _build_missing(dataset: Dataset, root: Path, progress: Progress | None) -> None:
    from .corpus import narration
    from .shards import write_shard

    for leftover in (root / dataset.name).glob(f".*{TEMPORARY_SUFFIX}"):
        leftover.unlink()
    assert dataset.val_tokens is not None
    sizes = [dataset.val_tokens, *train_sizes(dataset)]
    done, total = 0, sum(sizes)
    for index, (path, size) in enumerate(zip(_shard_paths(dataset, root, None), sizes, strict=True)):
        if not _is_right(dataset, path, size):
            write_shard(path, narration.generate(_shard_seed(dataset, index), size))
        done += size
        if progress is not None:
            progress(done, total)


def _shard_seed(dataset: Dataset, index: int) -> int:
    """Validation is index 0, so no training shard shares its seed."""
    assert dataset.seed is not None
    return dataset.seed << 16 | index


def _is_right(dataset: Dataset, path: Path, token_count: int) -> bool:
    from .shards import read_header

    try:
        found = read_header(path)
    except DataError:
        return False
    digest = measure([path])[path.name]
    return found == token_count and dataset.sha256.get(path.name, digest) == digest

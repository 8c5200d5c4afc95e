"""Manifests as TOML: how a dataset of one's own making is written down."""

import json
from pathlib import Path

from ..datasets import Dataset
from ..files import replace_file


def write_manifest(path: Path, dataset: Dataset) -> None:
    """Write `dataset` to `path`, atomically; what is None stays out."""
    fields = dataset.model_dump(exclude_none=True)
    digests: dict[str, str] = fields.pop("sha256")
    lines = [f"{key} = {_value(value)}" for key, value in fields.items()]
    if digests:
        lines += ["", "[sha256]", *(f"{_value(name)} = {_value(sha256)}" for name, sha256 in digests.items())]
    replace_file(path, ["\n".join([*lines, ""]).encode()])


def _value(value: str | int) -> str:
    """TOML's basic strings escape as JSON does, save for the one control character that JSON lets through."""
    if isinstance(value, int):
        return f"{value:_}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

"""Weights as the referee holds them: sealed memory, never objects.

PREPARE: a rank reserves names, dtypes and shapes; the referee makes a memory file (memfd) of exactly that size, seals
its length and touches its pages, so that STOP pays for a copy and nothing else. STOP: once the referee has added
F_SEAL_WRITE the kernel refuses every write, through every descriptor; adding it fails while a writable mapping
exists. So the moment of the seal is the moment after which nothing the submission does can change the result.
"""

import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np

from data.files import replace_file

from ..errors import RunFailure
from ..status import Status
from .messages import TensorShape

# bytes per element, and the name safetensors uses
DTYPES = {
    "float64": (8, "F64"), "float32": (4, "F32"), "bfloat16": (2, "BF16"), "float16": (2, "F16"),
    "float8_e4m3fn": (1, "F8_E4M3"), "float8_e5m2": (1, "F8_E5M2"),
    "int64": (8, "I64"), "int32": (4, "I32"), "int16": (2, "I16"), "int8": (1, "I8"), "uint8": (1, "U8"),
    "bool": (1, "BOOL"),
}  # fmt: skip
# bit patterns whose exponent is all ones: infinities and NaN (for e4m3fn: the two NaN)
_NOT_FINITE = {
    "float64": (np.uint64, 0x7FF0000000000000), "float32": (np.uint32, 0x7F800000),
    "bfloat16": (np.uint16, 0x7F80), "float16": (np.uint16, 0x7C00),
    "float8_e4m3fn": (np.uint8, 0x7F), "float8_e5m2": (np.uint8, 0x7C),
}  # fmt: skip
SEAL_LENGTH = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
SEAL_ALL = SEAL_LENGTH | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
ALIGNMENT_BYTES = 64  # of tensors in packed memory, as torch's own
CHECK_CHUNK_BYTES = 2**24  # how much of a tensor is looked at in one go


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One tensor's place in a rank's buffer."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int  # bytes from the start of the buffer
    bytes: int


@dataclass(slots=True)
class WeightBuffer:
    """The memory one rank hands its part of the weights over in."""

    specs: tuple[TensorSpec, ...]
    fd: int = field(default=-1)

    @property
    def size(self) -> int:
        return sum(spec.bytes for spec in self.specs)

    def allocate(self) -> None:
        """Make the memory, fix its length, touch its pages. Raises OSError when there is not enough."""
        self.fd = os.memfd_create("weights", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        if self.size:
            os.posix_fallocate(self.fd, 0, self.size)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, SEAL_LENGTH)

    def seal(self) -> bool:
        """Forbid every further write; False while somebody holds a writable mapping."""
        try:
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, SEAL_ALL)
        except OSError:
            return False
        return True

    def read(self, spec: TensorSpec, start: int = 0, count: int | None = None) -> bytes:
        """count bytes of a tensor from byte `start` of it."""
        return os.pread(self.fd, spec.bytes - start if count is None else count, spec.offset + start)

    def copy(self) -> "WeightBuffer":
        """A sealed copy of what is there now; whoever wrote to this one may go on."""
        copy, done = WeightBuffer(self.specs), 0
        copy.fd = os.memfd_create("copy", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        while done < self.size:
            done += os.sendfile(copy.fd, self.fd, done, self.size - done)
        assert copy.seal()
        return copy

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def plan(rank: int, shapes: list[TensorShape]) -> WeightBuffer:
    """A buffer for the tensors a rank reserves. Raises RunFailure on a dtype or a name that cannot be."""
    specs, offset = [], 0
    for shape in shapes:
        if shape.dtype not in DTYPES:
            known = ", ".join(DTYPES)
            raise RunFailure(
                Status.PROTOCOL_BROKEN,
                f"rank {rank} reserved {shape.name} as {shape.dtype}; expected one of {known}",
            )
        size = DTYPES[shape.dtype][0] * prod(shape.shape)
        specs.append(
            TensorSpec(name=shape.name, dtype=shape.dtype, shape=tuple(shape.shape), offset=offset, bytes=size)
        )
        offset += size
    return WeightBuffer(tuple(specs))


def check_union(buffers: list[WeightBuffer], budget_bytes: int) -> None:
    """The model is the union of what the ranks reserve. Raises RunFailure on a name twice, nothing, or too much."""
    names = [spec.name for buffer in buffers for spec in buffer.specs]
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise RunFailure(
            Status.PROTOCOL_BROKEN, f"expected every weight from one rank, found {twice[0]!r} reserved twice"
        )
    if not names:
        raise RunFailure(Status.PROTOCOL_BROKEN, "expected weights, found that no rank reserved any before go()")
    size = sum(buffer.size for buffer in buffers)
    if size > budget_bytes:
        raise RunFailure(
            Status.WEIGHTS_TOO_BIG,
            f"expected at most {budget_bytes:,} bytes of weights on this track, found {size:,} reserved",
        )


def pack(buffers: Sequence[WeightBuffer]) -> tuple[int, list[TensorSpec]]:
    """The union in one sealed memory file, whose holder can only read it and shares not even a file offset.

    Every tensor begins where any dtype and vector may begin, so that its reader needs no copy.
    """
    packed = os.memfd_create("copy", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    specs: list[TensorSpec] = []
    end = 0
    for buffer in buffers:
        for spec in buffer.specs:
            start = -(-end // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
            end, done = start + spec.bytes, 0
            os.lseek(packed, start, os.SEEK_SET)
            while done < spec.bytes:
                done += os.sendfile(packed, buffer.fd, spec.offset + done, spec.bytes - done)
            specs.append(replace(spec, offset=start))
    fcntl.fcntl(packed, fcntl.F_ADD_SEALS, SEAL_ALL)
    return packed, specs


def first_not_finite(buffers: list[WeightBuffer]) -> str | None:
    """The name of the first tensor that holds an infinity or a NaN."""
    for buffer in buffers:
        for spec in buffer.specs:
            if spec.dtype in _NOT_FINITE and not _is_finite(buffer, spec):
                return spec.name
    return None


def _is_finite(buffer: WeightBuffer, spec: TensorSpec) -> bool:
    unsigned, mask = _NOT_FINITE[spec.dtype]
    for start in range(0, spec.bytes, CHECK_CHUNK_BYTES):
        bits = np.frombuffer(buffer.read(spec, start, min(CHECK_CHUNK_BYTES, spec.bytes - start)), unsigned)
        if np.any((bits & unsigned(mask)) == unsigned(mask)):
            return False
    return True


def digest(buffers: list[WeightBuffer]) -> str:
    """SHA-256 over name, dtype, shape and bytes of every tensor in order of names: the same for any number of ranks."""
    sha = hashlib.sha256()
    for buffer, spec in _in_order(buffers):
        sha.update(json.dumps([spec.name, spec.dtype, spec.shape]).encode())
        for start in range(0, spec.bytes, CHECK_CHUNK_BYTES):
            sha.update(buffer.read(spec, start, min(CHECK_CHUNK_BYTES, spec.bytes - start)))
    return sha.hexdigest()


def save(buffers: list[WeightBuffer], path: Path) -> None:
    """Write the union as a safetensors file."""
    header, bodies, offset = {}, [], 0
    for buffer, spec in _in_order(buffers):
        header[spec.name] = {
            "dtype": DTYPES[spec.dtype][1], "shape": spec.shape, "data_offsets": [offset, offset + spec.bytes],
        }  # fmt: skip
        bodies.append(buffer.read(spec))
        offset += spec.bytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    replace_file(path, [len(head).to_bytes(8, "little"), head, *bodies])


def _in_order(buffers: list[WeightBuffer]) -> list[tuple[WeightBuffer, TensorSpec]]:
    pairs = [(buffer, spec) for buffer in buffers for spec in buffer.specs]
    return sorted(pairs, key=lambda pair: pair[1].name)

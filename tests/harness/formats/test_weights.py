"""Weights in sealed memory: what they are called, what they hold, and that nobody can change them."""

import hashlib
import json
import math
import mmap
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RunFailure
from harness.formats import weights
from harness.formats.messages import TensorShape
from harness.formats.weights import DTYPES, WeightBuffer, pack, plan
from harness.sandbox.evaluator import read_weights
from harness.sandbox.inside import describe, tensor_bytes
from harness.status import Status

FLOATS = ["float64", "float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"]


@pytest.fixture
def hold() -> Iterator[Any]:
    """hold(tensors, rank): a filled buffer, sealed; closed at the end."""
    held: list[WeightBuffer] = []

    def make(tensors: dict[str, torch.Tensor], rank: int = 0) -> WeightBuffer:
        buffer = plan(rank, [TensorShape.model_validate(spec) for spec in describe(tensors)])
        buffer.allocate()
        held.append(buffer)
        for spec, tensor in zip(buffer.specs, tensors.values(), strict=True):
            if tensor.numel():
                os.pwrite(buffer.fd, tensor_bytes(tensor), spec.offset)
        assert buffer.seal()
        return buffer

    yield make
    for buffer in held:
        buffer.close()


def a_model(seed: int, count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    names = [f"layer.{i}" for i in range(count)] + ["ä weight", "empty"]
    shapes = [(i + 1, 3) for i in range(count)] + [(), (0, 4)]
    return {
        name: torch.randn(shape, generator=generator).to(getattr(torch, FLOATS[i % 4]))
        for i, (name, shape) in enumerate(zip(names, shapes, strict=True))
    }


@settings(max_examples=25)
@given(seed=st.integers(0, 99), count=st.integers(1, 6), ranks=st.integers(1, 4), data=st.data())
def test_the_digest_is_that_of_the_model(hold: Any, seed: int, count: int, ranks: int, data: st.DataObject) -> None:
    """Whoever hands over which part, in whatever order; and any changed bit, name or shape gives another."""
    model = a_model(seed, count)
    order = data.draw(st.permutations(list(model)))
    owners = {name: data.draw(st.integers(0, ranks - 1)) for name in order}
    parts = [hold({name: model[name] for name in order if owners[name] == rank}, rank) for rank in range(ranks)]
    digest = weights.digest([hold(model)])
    assert weights.digest(parts) == digest
    others = [
        model | {"layer.0": model["layer.0"] * 2},
        model | {"empty": model["empty"].reshape(4, 0)},
        model | {"layer.0": model["layer.0"].reshape(3, 1)},
        {("layer.x" if name == "layer.0" else name): tensor for name, tensor in model.items()},
        {name: tensor for name, tensor in model.items() if name != "empty"},
    ]
    assert digest not in {weights.digest([hold(other)]) for other in others}


NOT_FINITE = [
    (dtype, value)
    for dtype in FLOATS
    for value in (math.inf, -math.inf, math.nan, -math.nan)
    if math.isnan(value) or dtype != "float8_e4m3fn"  # which has no infinities, and no room for them
]


@pytest.mark.parametrize(("dtype", "value"), NOT_FINITE)
def test_one_number_that_is_not_finite_is_found(hold: Any, dtype: str, value: float) -> None:
    tensor = torch.linspace(-3, 3, 101).to(getattr(torch, dtype))
    assert weights.first_not_finite([hold({"fine": tensor})]) is None
    spoilt = tensor.float().clone()
    spoilt[-1] = value
    spoilt = spoilt.to(getattr(torch, dtype))
    assert weights.first_not_finite([hold({"fine": tensor}), hold({"also fine": tensor, "spoilt": spoilt})]) == "spoilt"


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_largest_numbers_are_finite(hold: Any, dtype: str) -> None:
    kind = getattr(torch, dtype)
    info = torch.finfo(kind)
    tensor = torch.tensor([info.max, info.min, info.tiny, -0.0], dtype=torch.float64).to(kind)
    assert weights.first_not_finite([hold({"w": tensor})]) is None


def test_whole_numbers_are_finite_whatever_their_bits(hold: Any) -> None:
    kinds = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
    assert weights.first_not_finite([hold({str(kind): torch.full((9,), -1).to(kind) for kind in kinds})]) is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_chunk_boundary_hides_nothing(hold: Any, monkeypatch: Any, dtype: str, offset: int) -> None:
    monkeypatch.setattr(weights, "CHECK_CHUNK_BYTES", 64)
    size = DTYPES[dtype][0]
    tensor = torch.zeros(3 * 64 // size + 5, dtype=getattr(torch, dtype))
    tensor[2 * 64 // size + offset] = math.nan
    assert weights.first_not_finite([hold({"w": tensor})]) == "w"


def test_the_seal_waits_for_writable_mappings_and_then_holds() -> None:
    buffer = plan(0, [TensorShape(name="w", dtype="float32", shape=[1024])])
    buffer.allocate()
    mapping = mmap.mmap(buffer.fd, buffer.size)
    mapping[:4] = b"abcd"
    assert not buffer.seal()
    mapping[4:8] = b"efgh"
    mapping.close()
    assert buffer.seal()
    again = os.open(f"/proc/self/fd/{buffer.fd}", os.O_RDONLY)
    for write in (
        lambda: os.pwrite(buffer.fd, b"x", 0),
        lambda: os.ftruncate(buffer.fd, 0),
        lambda: os.ftruncate(buffer.fd, 10**6),
        lambda: mmap.mmap(buffer.fd, buffer.size),
        lambda: mmap.mmap(again, buffer.size),
    ):
        with pytest.raises(PermissionError):
            write()
    os.close(again)
    assert buffer.read(buffer.specs[0], 0, 8) == b"abcdefgh"
    buffer.close()
    buffer.close()  # twice is fine


def test_the_digest_is_of_names_dtypes_shapes_and_bytes_in_order_of_names(hold: Any) -> None:
    """By hand, so that anybody can compute it: equal weights have equal digests on every machine."""
    model = {"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor([3], dtype=torch.int64)}
    canonical = b'["a", "int64", [1]]' + (3).to_bytes(8, "little") + b'["b", "float32", [1, 2]]' + b"\0\0\x80?\0\0\0@"
    assert weights.digest([hold(model)]) == hashlib.sha256(canonical).hexdigest()


def test_a_length_is_fixed_from_the_start() -> None:
    buffer = plan(0, [TensorShape(name="w", dtype="int8", shape=[10])])
    buffer.allocate()
    with pytest.raises(PermissionError):
        os.pwrite(buffer.fd, bytes(11), 0)
    buffer.close()


def test_what_evaluators_get_shares_nothing(hold: Any) -> None:
    """It must not let one tell the other anything, nor change under its own hands; and every tensor is as it was."""
    model, other = a_model(0, 3), {"odd": torch.arange(3, dtype=torch.uint8), "doubles": torch.rand(5).double()}
    buffers = [hold(model), hold(other, 1)]
    (first, specs), (second, again) = pack(buffers), pack(buffers)
    os.lseek(first, 5, os.SEEK_SET)
    for scribble in (lambda: os.pwrite(first, b"x", 0), lambda: os.ftruncate(first, 0), lambda: mmap.mmap(first, 8)):
        with pytest.raises(PermissionError):
            scribble()
    assert os.lseek(second, 0, os.SEEK_CUR) != 5
    assert specs == again
    read = read_weights(second, [asdict(spec) for spec in specs])
    assert read.keys() == model.keys() | other.keys()
    for name, tensor in (model | other).items():
        assert torch.equal(read[name], tensor)
        assert read[name].data_ptr() % 64 == 0 or not tensor.numel()
        read[name].zero_()  # an evaluator's tensors are its own
    assert weights.digest(buffers) == weights.digest([hold(model), hold(other, 1)])
    os.close(first)
    os.close(second)


def test_a_copy_stays_what_it_was(hold: Any) -> None:
    """What ranks had at GO is rehearsed on; they go on writing."""
    buffer = plan(0, [TensorShape(name="w", dtype="int8", shape=[10])])
    buffer.allocate()
    os.pwrite(buffer.fd, b"0123456789", 0)
    copy = buffer.copy()
    os.pwrite(buffer.fd, b"abc", 0)
    assert copy.read(copy.specs[0]) == b"0123456789"
    with pytest.raises(PermissionError):
        os.pwrite(copy.fd, b"x", 0)
    copy.close()
    buffer.close()


def test_the_saved_file_is_safetensors(hold: Any, tmp_path: Path) -> None:
    """Parsed by the format's own words: u64 length, JSON header, one buffer without holes."""
    model = a_model(7, 5)
    first = dict(list(model.items())[:3])
    second = dict(list(model.items())[3:])
    weights.save([hold(first), hold(second, 1)], tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    assert header.keys() == model.keys()
    end = 0
    for entry in sorted(header.values(), key=lambda entry: entry["data_offsets"]):
        assert entry["data_offsets"][0] == end
        end = entry["data_offsets"][1]
    assert end == len(body)
    numpy_of = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
    for name, tensor in model.items():
        entry = header[name]
        start, end = entry["data_offsets"]
        assert entry["shape"] == list(tensor.shape)
        if entry["dtype"] == "BF16":
            bits = np.frombuffer(body[start:end], "<u2").astype(np.uint32) << 16
            found = bits.view(np.float32)
        else:
            found = np.frombuffer(body[start:end], numpy_of[entry["dtype"]])
        np.testing.assert_array_equal(found, tensor.double().numpy().reshape(-1))


def test_every_dtype_has_the_size_torch_gives_it() -> None:
    for name, (size, _) in DTYPES.items():
        assert getattr(torch, name).itemsize == size


def test_many_names_twice_are_found_at_once() -> None:
    shapes = [TensorShape(name=f"w{i}", dtype="int8", shape=[1]) for i in range(20_000)]
    with pytest.raises(RunFailure, match="'w0' reserved twice") as raised:
        weights.check_union([plan(rank, shapes) for rank in range(8)], 10**9)
    assert raised.value.status == Status.PROTOCOL_BROKEN

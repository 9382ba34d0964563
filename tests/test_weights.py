import contextlib
import json
import os
import pickle
import struct
import time
import tracemalloc
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import nn

from napari_mtlpath.weights import (
    MAX_TENSORS,
    WeightsError,
    file_sha256,
    load_weights,
    read_weights,
    state_sha256,
    write_weights,
)

STATE = {"layer.weight": torch.arange(12.0).view(3, 4), "layer.bias": torch.zeros(3), "count": torch.tensor(7)}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_weights(path, STATE)
    return path


def write_raw(path: Path, header: object, data: bytes, *, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin: int, end: int, *, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


def test_weights_come_back_as_they_were_saved(weights: Path) -> None:
    state = read_weights(weights)
    assert set(state) == set(STATE)
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)


def test_weights_are_float16_on_disk_and_float32_in_memory(tmp_path: Path) -> None:
    value = torch.tensor([0.1])
    write_weights(tmp_path / "a.safetensors", {"a": value})
    read = read_weights(tmp_path / "a.safetensors")["a"]
    assert read.dtype == torch.float32
    assert read.item() == value.half().float().item()


def test_a_value_too_large_for_float16_is_kept_exactly(tmp_path: Path) -> None:
    write_weights(tmp_path / "a.safetensors", {"a": torch.tensor([1e6])})
    assert read_weights(tmp_path / "a.safetensors")["a"].item() == 1e6


def test_writing_returns_the_hash_of_the_file(tmp_path: Path) -> None:
    assert write_weights(tmp_path / "a.safetensors", STATE) == file_sha256(tmp_path / "a.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="file modes are of POSIX systems")
def test_weights_are_as_readable_as_any_other_file(weights: Path) -> None:
    (weights.parent / "other").write_text("x", encoding="utf-8")
    assert weights.stat().st_mode == (weights.parent / "other").stat().st_mode


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_not_saved_and_the_old_file_stays(weights: Path, bad: float) -> None:
    before = weights.read_bytes()
    with pytest.raises(WeightsError, match=r"not finite in layer 'head\.bias'"):
        write_weights(weights, {"head.bias": torch.tensor([0.0, bad])})
    assert weights.read_bytes() == before
    assert [path.name for path in weights.parent.iterdir()] == [weights.name]


@pytest.mark.parametrize("dtype", ["F16", "F32", "BF16"])
def test_weights_with_nan_are_refused_naming_the_layer(tmp_path: Path, dtype: str) -> None:
    data = {"F16": b"\x00\x7e", "BF16": b"\xc0\x7f", "F32": struct.pack("<f", float("nan"))}[dtype]
    header = {"blocks.3.weight": entry(0, len(data), shape=[1], dtype=dtype)}
    with pytest.raises(WeightsError, match=r"not finite in layer 'blocks\.3\.weight'"):
        read_weights(write_raw(tmp_path / "a.safetensors", header, data))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(weights: Path, position: int, bit: int) -> None:
    promised = file_sha256(weights)
    damaged = bytearray(weights.read_bytes())
    damaged[position % len(damaged)] ^= 1 << bit
    path = weights.with_name("damaged.safetensors")
    path.write_bytes(damaged)
    with pytest.raises(WeightsError):
        read_weights(path, sha256=promised)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_flipped_bit_without_a_promised_hash_never_raises_anything_else(
    weights: Path, position: int, bit: int
) -> None:
    damaged = bytearray(weights.read_bytes())
    damaged[position % len(damaged)] ^= 1 << bit
    path = weights.with_name("damaged.safetensors")
    path.write_bytes(damaged)
    with contextlib.suppress(WeightsError):
        assert all(torch.isfinite(tensor).all() for tensor in read_weights(path).values())


def test_every_truncation_is_refused(weights: Path) -> None:
    whole = weights.read_bytes()
    path = weights.with_name("cut.safetensors")
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="not a whole safetensors file"):
            read_weights(path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(junk=st.binary(max_size=300))
def test_junk_is_refused_in_one_sentence(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "junk.safetensors"
    path.write_bytes(junk)
    with pytest.raises(WeightsError):
        read_weights(path)


ATTACKS = {
    "header of 2^62 bytes": ({}, b"", 2**62),
    "header of 2^64 - 1 bytes": ({}, b"", 2**64 - 1),
    "header longer than the file": ({}, b"", 1000),
    "not JSON": (b"{{{{", b"", None),
    "nested 100,000 deep": (b"[" * 100_000, b"", None),
    "number of 100,000 digits": (b'{"a": ' + b"9" * 100_000 + b"}", b"", None),
    "a list": ([], b"", None),
    "overlap": ({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12), None),
    "gap": ({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12), None),
    "two tensors in one place": ({"a": entry(0, 8), "b": entry(0, 8)}, bytes(8), None),
    "data left over": ({"a": entry(0, 4)}, bytes(100), None),
    "data missing": ({"a": entry(0, 400)}, bytes(4), None),
    "shape of 2^40": ({"a": entry(0, 4, shape=[2**40])}, bytes(4), None),
    "shape that overflows": ({"a": entry(0, 0, shape=[2**40, 2**40, 0])}, b"x", None),
    "empty shape that overflows": ({"a": entry(0, 0, shape=[2**40, 2**40, 0])}, b"", None),
    "negative shape": ({"a": entry(0, 4, shape=[-1, -1])}, bytes(4), None),
    "boolean shape": ({"a": entry(0, 4, shape=[True])}, bytes(4), None),
    "negative offset": ({"a": entry(-4, 0, shape=[1])}, bytes(4), None),
    "offsets reversed": ({"a": entry(4, 0, shape=[1])}, bytes(4), None),
    "unknown dtype": ({"a": entry(0, 4, dtype="OBJECT")}, bytes(4), None),
    "entry is text": ({"a": "torch"}, b"", None),
    "entry without shape": ({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4), None),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_is_refused_fast_and_without_memory(tmp_path: Path, attack: str) -> None:
    header, data, length = ATTACKS[attack]
    path = write_raw(tmp_path / "a.safetensors", header, data, length=length)
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        read_weights(path)
    assert time.perf_counter() - start < 2
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()


def test_a_header_of_many_tensors_is_refused_fast(tmp_path: Path) -> None:
    names = ",".join(f'"{number}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for number in range(1_200_000))
    path = write_raw(tmp_path / "a.safetensors", b"{" + names.encode() + b"}", b"")
    start = time.perf_counter()
    with pytest.raises(WeightsError, match="limit is 4 MiB"):
        read_weights(path)
    assert time.perf_counter() - start < 2


def test_a_small_header_with_too_many_tensors_is_refused(tmp_path: Path) -> None:
    header = {str(number): entry(0, 0) for number in range(MAX_TENSORS + 1)}
    path = write_raw(tmp_path / "a.safetensors", header, b"")
    with pytest.raises(WeightsError, match=f"{MAX_TENSORS + 1} tensors"):
        read_weights(path)


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def pickled(path: Path, canary: Path, kind: str) -> None:
    match kind:
        case "torch zip":
            torch.save({"weight": Canary(canary)}, path)
        case "torch legacy":
            torch.save({"weight": Canary(canary)}, path, _use_new_zipfile_serialization=False)
        case "bare":
            path.write_bytes(pickle.dumps(Canary(canary)))
        case "whole module":
            torch.save(nn.Linear(2, 2), path)


@pytest.mark.parametrize("kind", ["torch zip", "torch legacy", "bare", "whole module"])
@pytest.mark.parametrize("name", ["model.pt", "model.bin", "model.ckpt", "model.safetensors"])
def test_a_pickle_is_refused_and_never_run(tmp_path: Path, kind: str, name: str) -> None:
    pickled(tmp_path / name, tmp_path / "canary", kind)
    with pytest.raises(WeightsError, match=r"pickle, which can run code.*safetensors"):
        read_weights(tmp_path / name)
    assert not (tmp_path / "canary").exists()


def test_a_missing_file_says_which(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights file 'model\.safetensors'"):
        read_weights(tmp_path / "model.safetensors")


def test_differences_come_as_one_table_and_nothing_is_loaded() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = {"0.weight": torch.ones(4, 3), "0.bias": torch.ones(3), "1.weight": torch.ones(2, 3), "old": torch.ones(5)}
    with pytest.raises(WeightsError) as caught:
        load_weights(module, state, what="The weights of model 'x'")
    message = str(caught.value)
    assert message.startswith("The weights of model 'x' do not fit")
    assert "1.bias: missing, expected 2" in message
    assert "old: extra, found 5" in message
    assert "0.weight: expected 3 x 4, found 4 x 3" in message
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_a_long_table_is_cut() -> None:
    state = {f"extra.{number}": torch.ones(1) for number in range(100)}
    with pytest.raises(WeightsError, match=r"\(100 differences\)") as caught:
        load_weights(nn.Module(), state, what="The weights")
    assert "and 88 more" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 14


def test_the_state_hash_sees_values_names_shapes_and_description_but_not_order() -> None:
    a, b = torch.ones(2), torch.zeros(2)
    base = state_sha256({"a": a, "b": b}, description={"x": 1})
    assert state_sha256({"b": b, "a": a}, description={"x": 1}) == base
    assert state_sha256({"a": a.half(), "b": b}, description={"x": 1}) == base
    others = [
        state_sha256({"a": b, "b": a}, description={"x": 1}),
        state_sha256({"a": a, "c": b}, description={"x": 1}),
        state_sha256({"a": a.view(1, 2), "b": b}, description={"x": 1}),
        state_sha256({"a": a, "b": b}, description={"x": 2}),
    ]
    assert len({base, *others}) == 5

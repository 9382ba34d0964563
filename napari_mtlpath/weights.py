"""Weights on disk: safetensors files that are checked before and after they are read, and never run code."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from napari_mtlpath.files import replacing
from napari_mtlpath.hashes import file_sha256 as file_sha256  # callers know both from here, too
from napari_mtlpath.weights_file import WeightsError as WeightsError
from napari_mtlpath.weights_file import check_no_pickle, check_promise

MAX_HEADER_BYTES = 4 * 2**20
"""A header of 20,000 tensors takes some 2 MB; parsing one of 1.2 million takes a minute."""

MAX_TENSORS = 20_000
"""The largest published tile encoders hold some thousand tensors."""

MAX_TABLE_ROWS = 12
"""Rows of the table of differences that one message shows."""

DTYPE_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip
"""Bytes per element of the dtypes of the safetensors format that torch can hold."""

FLOAT16_MAX = 65504.0


def read_weights(path: Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Read a safetensors file completely checked, or not at all.

    Parameters
    ----------
    path
        The file.
    sha256
        The hash (hex) that the card promises, or None where nothing is promised.

    Returns
    -------
    Tensors on the CPU by name: floating ones as float32, the rest as they are stored.

    Raises
    ------
    WeightsError
        If the file holds code (pickle), is damaged, oversized, or holds a value that is not finite.
    FileNotFoundError
        If there is no such file.
    """
    check_no_pickle(path)
    header, data_bytes = _read_header(path)
    _check_layout(path, header, data_bytes)
    if sha256 is not None:
        check_promise(path, expected=sha256, found=file_sha256(path))
    try:
        with safe_open(path, framework="pt", device="cpu") as stored:
            state = {name: _widen(stored.get_tensor(name)) for name in header}
    except SafetensorError as error:
        raise _damaged(path, str(error)) from error
    check_finite(state, what=f"The weights {path.name!r}")
    return state


def write_weights(path: Path, state: Mapping[str, Tensor]) -> str:
    """Write weights as float16 safetensors, completely or not at all, and return the file's SHA-256 (hex).

    A tensor whose values do not fit float16 stays float32; integers stay as they are.

    Raises
    ------
    WeightsError
        If a value is not finite: such weights would be refused on reading.
    """
    check_finite(state, what="The weights to be saved")
    stored = {name: _narrow(tensor) for name, tensor in state.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(stored))  # not save_file: its files are readable by their owner only
        return file_sha256(temporary)


def as_stored(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as :func:`read_weights` will give them after :func:`write_weights`: rounded to float16.

    Examples
    --------
    >>> as_stored({"a": torch.tensor([0.1])})["a"].item() == torch.tensor(0.1).half().item()
    True
    """
    return {name: _widen(_narrow(tensor)) for name, tensor in state.items()}


def load_weights(module: nn.Module, state: Mapping[str, Tensor], *, what: str) -> None:
    """Load `state` into `module` if every name and shape fits (see :func:`check_fit`); else change nothing."""
    check_fit(module, state, what=what)
    module.load_state_dict(dict(state), strict=True)


def check_fit(module: nn.Module, state: Mapping[str, Tensor], *, what: str) -> None:
    """Raise WeightsError with a table of missing, extra and misshapen names unless `state` fits `module` exactly.

    Parameters
    ----------
    module
        The network, which may be on the meta device; its persistent state is what is expected.
    state
        Weights by name.
    what
        Beginning of the error message, such as ``"The weights of model 'a'"``.
    """
    expected = module.state_dict()
    rows = [f"  {name}: missing, expected {_shape(tensor)}" for name, tensor in expected.items() if name not in state]
    rows += [f"  {name}: extra, found {_shape(tensor)}" for name, tensor in state.items() if name not in expected]
    rows += [
        f"  {name}: expected {_shape(tensor)}, found {_shape(state[name])}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if rows:
        more = [f"  … and {len(rows) - MAX_TABLE_ROWS} more"] if len(rows) > MAX_TABLE_ROWS else []
        table = "\n".join(rows[:MAX_TABLE_ROWS] + more)
        raise WeightsError(
            f"{what} do not fit the architecture that its card describes ({len(rows)} differences). "
            f"Use the card and the weights of one and the same model.\n{table}"
        )


def check_finite(state: Mapping[str, Tensor], *, what: str) -> None:
    """Raise WeightsError naming the first tensor that holds NaN or infinity."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise WeightsError(f"{what} are not finite in layer {name!r} (NaN or infinity). Train or download again.")


def state_sha256(state: Mapping[str, Tensor], *, description: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) over a description and the values of weights, whatever their order.

    Parameters
    ----------
    state
        Weights by name; floating values are hashed as float32.
    description
        What else changes the result (architecture, preprocessing); must be plain data.
    """
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(state):
        tensor = _widen(state[name].detach().cpu()).contiguous()
        digest.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the table of tensors and the number of bytes that follow it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise _damaged(path, f"its header claims {length} bytes, the file has {size}, the limit is 4 MiB")
        text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is not valid JSON") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a table")
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise _damaged(path, f"it lists {len(header)} tensors, the limit is {MAX_TENSORS}")
    return header, size - 8 - length


def _check_layout(path: Path, header: Mapping[str, object], data_bytes: int) -> None:
    """Check that the tensors tile the data section exactly: no gap, no overlap, no size that lies."""
    spans = sorted(_span(path, name, entry) for name, entry in header.items())
    position = 0
    for begin, end, name in spans:
        if begin != position:
            raise _damaged(path, f"tensor {name!r} starts at byte {begin} where {position} was expected")
        position = end
    if position != data_bytes:
        raise _damaged(path, f"its tensors take {position} bytes, the file holds {data_bytes}")


def _span(path: Path, name: str, entry: object) -> tuple[int, int, str]:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            known = dtype in DTYPE_BYTES and all(type(n) is int and n >= 0 for n in shape) and len(shape) <= 8
            if known and begin >= 0 and math.prod(shape) * DTYPE_BYTES[dtype] == end - begin:
                return begin, end, name
    raise _damaged(path, f"the entry of tensor {name!r} contradicts itself")


def _damaged(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"The weights {path.name!r} are not a whole safetensors file: {reason}. Get the model again from where it came."
    )


def _widen(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _narrow(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        fits = tensor.numel() == 0 or float(tensor.abs().max()) <= FLOAT16_MAX
        tensor = tensor.to(torch.float16 if fits else torch.float32)
    return tensor.clone(memory_format=torch.contiguous_format)


def _shape(tensor: Tensor) -> str:
    return " x ".join(str(n) for n in tensor.shape) or "a scalar"

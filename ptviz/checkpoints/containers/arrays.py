"""Read .npy and safetensors without any pickle; headers are checked before any value is read.

Formats: NumPy's NEP 1, https://numpy.org/neps/nep-0001-npy-format.html, and safetensors,
https://github.com/huggingface/safetensors#format. numpy has no bfloat16, so it is converted to float32 here.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ptviz.checkpoints.bundle import Array
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.limits import LIMITS, MB, check_scalars, parse_json_object
from ptviz.safe_text import safe_list, safe_text

NPY_MAGIC = npy.MAGIC_PREFIX
FLOAT_DTYPES = ("F64", "F32", "F16", "BF16")
_DTYPE_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "U16": 2, "U32": 4,
    "U64": 8, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip


def to_finite_float32(name: str, array: NDArray[Any]) -> Array:
    """Return the array as float32, if its shape is allowed and every value is finite.

    Raises:
        CheckpointError: otherwise.
    """
    check_shape(name, array.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.array(array, dtype=np.float32, order="C")  # a copy: the file's bytes are not kept alive
    wrong = ~np.isfinite(found)
    if count := int(wrong.sum()):
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise CheckpointError(
            f"{safe_text(name)}: expected finite numbers; {count:,} of {found.size:,} are NaN or infinite, the first "
            f"at {first}. Its training diverged: use an earlier checkpoint"
        )
    return found


def check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Check that a shape is plausible for a prompt.

    Raises:
        CheckpointError: for more than 6 axes, an empty axis, or more numbers than the limit.
    """
    if len(shape) > 6 or any(size < 1 for size in shape) or math.prod(shape) > LIMITS.scalars:
        raise CheckpointError(
            f"{safe_text(name)}: expected at most 6 axes, none empty, and {LIMITS.scalars / MB:,.0f} million numbers; "
            f"got the shape {safe_text(shape)}"
        )


def bf16_to_float32(array: NDArray[np.uint16]) -> Array:
    """Return bfloat16 values, given as their bits, as float32: bfloat16 is the upper half of float32."""
    return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)


def read_npy(data: bytes, name: str) -> Array:
    """Return the array of a .npy file: floating point of 2, 4 or 8 bytes, or bfloat16 stored as two raw bytes.

    Raises:
        CheckpointError: for a damaged header, another type, or fewer bytes than the header promises.
    """
    shape, dtype, fortran, start = _read_npy_header(data, name)
    raw = dtype == np.dtype("V2")
    if dtype.kind != "f" and not raw:
        objects = " (Python objects, which are never unpickled)" if dtype.hasobject else ""
        raise CheckpointError(
            f"{safe_text(name)}: expected floating-point numbers; got the type {safe_text(dtype)}{objects}"
        )
    check_shape(name, shape)
    if dtype.itemsize > 8:
        raise CheckpointError(f"{safe_text(name)}: expected 2, 4 or 8 bytes a number; got {dtype.itemsize}")
    need, have = math.prod(shape) * dtype.itemsize, len(data) - start
    if need != have:
        raise CheckpointError(
            f"{safe_text(name)}: its header promises {need:,} bytes of numbers, {have:,} follow: truncated or damaged. "
            "Copy the file again"
        )
    flat = np.frombuffer(data, np.dtype(np.uint16) if raw else dtype, math.prod(shape), start)
    values = bf16_to_float32(flat) if raw else flat
    return to_finite_float32(name, values.reshape(shape, order="F" if fortran else "C"))


def _read_npy_header(data: bytes, name: str) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Return shape, dtype, whether the order is Fortran's, and the offset of the values."""
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError("no .npy of version 1, 2 or 3")
        # Version 3 differs from 2 only in the encoding of column names; tables with columns are refused anyway.
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file, max_header_size=10_000)
        return tuple(map(int, shape)), dtype, fortran, file.tell()
    except (ValueError, TypeError, SyntaxError, LookupError, TokenError, MemoryError, RecursionError) as error:
        raise CheckpointError(
            f"{safe_text(name)}: expected a .npy file of numbers; its header is damaged ({safe_text(error)}). "
            "Copy it again"
        ) from error


class SafetensorsContent(NamedTuple):
    """The floating-point tensors of a file, its header's texts, and the names of tensors of other types."""

    tensors: dict[str, Array]
    metadata: dict[str, str]
    other_tensors: list[str]


def is_safetensors(start: bytes) -> bool:
    """Return whether bytes begin like safetensors: the header's length, then JSON."""
    return len(start) >= 9 and 2 <= int.from_bytes(start[:8], "little") < 1 << 40 and start[8:9] == b"{"


def read_safetensors(data: bytes, name: str) -> SafetensorsContent:
    """Return every floating-point tensor of a safetensors file, as float32.

    Raises:
        CheckpointError: for a header that is too large or damaged, offsets that overlap or do not fit, or bad values.
    """
    length = int.from_bytes(data[:8], "little")
    if length > LIMITS.header:
        raise CheckpointError(f"{safe_text(name)}: a header of {length:,} bytes; at most {LIMITS.header:,} are read")
    if 8 + length > len(data):
        raise CheckpointError(f"{safe_text(name)}: cut short within its header. Copy the file again")
    header = parse_json_object(data[8 : 8 + length], f"header of {safe_text(name)}", LIMITS.header)
    texts = header.pop("__metadata__", {})
    if not isinstance(texts, Mapping) or not all(isinstance(text, str) for text in texts.values()):
        raise CheckpointError(f"{safe_text(name)}: expected texts as metadata in its header")
    if not 1 <= len(header) <= LIMITS.tensors:
        raise CheckpointError(
            f"{safe_text(name)}: expected 1 to {LIMITS.tensors:,} tensors; got {len(header):,}: refused"
        )
    body = memoryview(data)[8 + length :]
    entries = [_parse_entry(name, key, info) for key, info in header.items()]
    _check_layout(name, entries, len(body))
    total = sum(math.prod(entry.shape) for entry in entries if entry.dtype in FLOAT_DTYPES)
    check_scalars(safe_text(name), total, total, 0)
    tensors = {entry.name: _read_values(entry, body) for entry in entries if entry.dtype in FLOAT_DTYPES}
    others = [f"{entry.name} ({entry.dtype})" for entry in entries if entry.dtype not in FLOAT_DTYPES]
    if not tensors:
        raise CheckpointError(
            f"{safe_text(name)}: expected floating-point tensors ({', '.join(FLOAT_DTYPES)}); got {safe_list(others)}"
        )
    return SafetensorsContent(tensors, dict(texts), others)


class _Entry(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def _parse_entry(file: str, name: str, info: Any) -> _Entry:
    try:
        dtype, shape, (start, end) = info["dtype"], info["shape"], info["data_offsets"]
        numbers = [*shape, start, end]
        if len(shape) > 16 or not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
            raise ValueError("numbers that are no sizes")
        if dtype not in _DTYPE_BYTES:
            raise ValueError(f"the type {dtype}")
        if end - start != math.prod(shape) * _DTYPE_BYTES[dtype]:
            raise ValueError(f"{end - start} bytes for the shape {shape}")
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{safe_text(file)}: the header's entry {safe_text(name)!r} is not a tensor ({safe_text(error)}): "
            "damaged or refused"
        ) from error
    if dtype in FLOAT_DTYPES:
        check_shape(name, tuple(shape))
    return _Entry(name, dtype, tuple(shape), start, end)


def _check_layout(file: str, entries: list[_Entry], size: int) -> None:
    """Check that tensors are contiguous without overlap, as the format requires."""
    position = 0
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.end)):
        if entry.start != position:
            raise CheckpointError(
                f"{safe_text(file)}: tensors overlap or leave gaps at {safe_text(entry.name)!r}: refused"
            )
        position = entry.end
    if position != size:
        raise CheckpointError(
            f"{safe_text(file)}: its header promises {position:,} bytes of numbers, {size:,} follow: cut short. "
            "Copy the file again"
        )


def _read_values(entry: _Entry, body: memoryview) -> Array:
    kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}[entry.dtype]
    flat = np.frombuffer(body[entry.start : entry.end], np.dtype(kind))
    return to_finite_float32(
        entry.name, (bf16_to_float32(flat) if entry.dtype == "BF16" else flat).reshape(entry.shape)
    )


def write_safetensors(tensors: Mapping[str, Array], texts: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file of float32 arrays."""
    from safetensors.numpy import save

    # numpy makes a single number a list of one.
    own = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()}
    return bytes(save(own, dict(texts)))


def encode_npy(array: Array) -> bytes:
    """Return the bytes of a .npy file."""
    buffer = io.BytesIO()
    npy.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()

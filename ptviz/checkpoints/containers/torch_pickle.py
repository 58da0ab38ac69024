"""Read torch files without running code: always ``weights_only=True``, with no fallback.

torch's restricted unpickler had two vulnerabilities (CVE-2025-32434, fixed in 2.6.0; CVE-2026-24747, fixed in 2.10.0),
so older versions are refused. The error for a refused file names what it would call, read from the pickle's opcodes
without executing them.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ptviz.checkpoints.bundle import Array
from ptviz.checkpoints.containers.arrays import check_shape, to_finite_float32
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.limits import LIMITS, ZipFolder, check_scalars
from ptviz.safe_text import safe_list, safe_text

if TYPE_CHECKING:
    from torch import Tensor

MIN_TORCH_VERSION = (2, 10)
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The first bytes of a torch file from before the zip layout: a pickle of torch's magic number."""
_MAX_DEPTH = 8
_MAX_NAME_LENGTH = 2000
_MAX_VISITS = 2 * LIMITS.tensors
"""Largest number of values visited in a file: nested lists may repeat one another many times."""


class _ParameterDict:
    """Stands in for ``torch.nn.ParameterDict``, which textual inversion saves: holds its state and runs nothing."""

    def __setstate__(self, state: object) -> None:
        self.state = state

    def parameters(self) -> object:
        """Return the parameters by name, if the state is that of a module."""
        return self.state.get("_parameters") if isinstance(self.state, Mapping) else None


_STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_ParameterDict, "torch.nn.modules.container.ParameterDict")
]


def read_torch_file(data: bytes, name: str) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the floating-point tensors of a torch file by dotted name, and its plain values as text.

    A bare tensor has the name "". Dictionaries and lists are traversed.

    Raises:
        CheckpointError: for anything but plain tensors, with the names of what the file would call.
    """
    if zipfile.is_zipfile(io.BytesIO(data)):
        ZipFolder(data, name)  # its directory is checked before torch sees it
    found = _load_torch(data, name)
    tensors: dict[str, Tensor] = {}
    texts: dict[str, str] = {}
    _collect_values(found, "", tensors, texts, name, [])
    return _to_arrays(tensors, name), texts


def _require_torch() -> Any:
    import torch

    if tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) < MIN_TORCH_VERSION:
        raise CheckpointError(
            f"torch {torch.__version__} has known vulnerabilities in reading untrusted files: expected at least 2.10. "
            "Run: pip install --upgrade torch"
        )
    return torch


def _load_torch(data: bytes, name: str) -> Any:
    torch = _require_torch()
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_STAND_INS):
            warnings.simplefilter("ignore")  # torch's warnings about old storages
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if called := forbidden_globals(data):
            raise CheckpointError(
                f"{safe_text(name)}: expected plain tensors; the file calls {safe_list(called)}. Nothing was executed. "
                "Ask its author for a .safetensors file"
            ) from error
        raise _damaged_error(name, error) from error
    except (MemoryError, RecursionError) as error:
        raise CheckpointError(f"{safe_text(name)}: needs more memory than a prompt does: refused") from error
    except Exception as error:  # a damaged pickle can raise any exception
        raise _damaged_error(name, error) from error


def _damaged_error(name: str, error: Exception) -> CheckpointError:
    # torch's message begins with advice to load unsafely; the cause follows after it.
    cause = str(error).rpartition("WeightsUnpickler error: ")[2] or type(error).__name__
    first = cause.strip().splitlines()[0] if cause.strip() else type(error).__name__
    return CheckpointError(
        f"{safe_text(name)}: expected a file made by torch.save; it is damaged, truncated or of another format "
        f"({safe_text(first)}). Copy the file again"
    )


def forbidden_globals(data: bytes) -> list[str]:
    """Return what a pickle would call beyond plain tensors, from its opcodes, without executing it."""
    import torch

    try:
        with torch.serialization.safe_globals(_STAND_INS):
            found = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
        if found:
            return sorted(found)
    except Exception:  # torch understands only complete zips here
        pass
    return [
        name
        for name in pickle_globals(_pickle_bytes(data))
        if name not in _ALLOWED_GLOBALS and not _STORAGE_PATTERN.fullmatch(name)
    ]


def _pickle_bytes(data: bytes) -> bytes:
    """Return the pickle of a torch file: an entry of its zip, or the complete file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entry = next(info for info in archive.infolist() if info.filename.endswith("data.pkl"))
            return archive.read(entry) if entry.file_size <= LIMITS.unpacked else b""
    except Exception:  # no zip, or a damaged one
        return data


_STORAGE_PATTERN = re.compile(r"torch\.(storage\.)?\w*Storage")
_ALLOWED_GLOBALS = {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"}


def pickle_globals(data: bytes) -> list[str]:
    """Return every global that the pickles in a stream name, in order of first occurrence."""
    found: list[str] = []
    stream = io.BytesIO(data)
    try:
        while stream.tell() < len(data):
            _collect_globals(stream, found)
    except Exception:  # the values of a legacy file follow its pickles
        pass
    return list(dict.fromkeys(found))


def _collect_globals(stream: io.BytesIO, found: list[str]) -> None:
    texts: list[str] = []
    memo: dict[int, str] = {}  # A module's name is written once; later globals refer to it.
    last = ""
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            found.append(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            found.append(".".join(texts[-2:]))
        elif opcode.name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if argument is None else int(str(argument))] = last
            continue
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            argument = memo.get(int(str(argument)))
        last = argument if isinstance(argument, str) else ""
        if last:
            texts = [*texts[-8:], last]


def _collect_values(
    value: Any,
    path: str,
    tensors: dict[str, Tensor],
    texts: dict[str, str],
    name: str,
    seen: list[None],
    depth: int = 0,
) -> None:
    """Collect tensors and plain values by dotted name; ``seen`` grows by one per visit, also of empty containers."""
    import torch

    seen.append(None)
    if depth > _MAX_DEPTH or len(seen) > _MAX_VISITS:
        raise CheckpointError(f"{safe_text(name)}: too many or too deeply nested values for a prompt: refused")
    if isinstance(value, _ParameterDict):
        value = value.parameters()
    if isinstance(value, torch.Tensor):
        tensors[path] = value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _collect_values(inner, _join_path(path, str(key)), tensors, texts, name, seen, depth + 1)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _collect_values(inner, _join_path(path, str(index)), tensors, texts, name, seen, depth + 1)
    elif isinstance(value, str | int | float | bool):
        texts[path] = safe_text(value, 300)


def _join_path(path: str, key: str) -> str:
    if len(path) + len(key) > _MAX_NAME_LENGTH:
        raise CheckpointError(
            f"a tensor's name has more than {_MAX_NAME_LENGTH:,} characters ({safe_text(key)}): refused"
        )
    return f"{path}.{key}" if path else key


def _to_arrays(tensors: Mapping[str, Tensor], name: str) -> dict[str, Array]:

    # With strides of 0, or many views of one storage, a file claims far more values than it has: count before copying.
    floats = {key: tensor for key, tensor in tensors.items() if tensor.is_floating_point() and _is_dense(key, tensor)}
    storages = {tensor.untyped_storage().data_ptr(): tensor for tensor in floats.values()}
    stored = sum(tensor.untyped_storage().nbytes() // tensor.element_size() for tensor in storages.values())
    for key, tensor in floats.items():
        if tensor.ndim:
            check_shape(key or name, tuple(tensor.shape))
    check_scalars(safe_text(name), sum(tensor.numel() for tensor in floats.values()), stored, LIMITS.repeated)
    found = {
        key: to_finite_float32(key or name, tensor.detach().float().contiguous().numpy())
        for key, tensor in floats.items()
        if tensor.ndim
    }
    if not found:
        kinds = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})
        raise CheckpointError(
            f"{safe_text(name)}: expected a floating-point tensor; got {safe_list(kinds) if kinds else 'no tensor'}"
        )
    return found


def _is_dense(key: str, tensor: Tensor) -> bool:
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise CheckpointError(
            f"{safe_text(key or 'the tensor')}: expected a dense tensor; got {tensor.layout}, {tensor.device}"
        )
    return True


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles one bare tensor: only three globals are allowed, none of which runs code from the file."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the function for one of the three allowed globals.

        Raises:
            CheckpointError: for any other.
        """
        known = {
            "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
            "torch.storage._load_from_bytes": _load_storage,
            "collections.OrderedDict": OrderedDict,
        }
        if (found := known.get(f"{module}.{name}")) is None:
            raise CheckpointError(
                f"expected one plain tensor; its pickle calls {safe_text(f'{module}.{name}')}. Nothing was executed"
            )
        return found

    def persistent_load(self, pid: Any) -> Any:
        """Refuse a reference to external storage, which a bare tensor does not have.

        Raises:
            CheckpointError: always.
        """
        raise CheckpointError("expected one plain tensor; its pickle refers to something outside itself: refused")


_ALLOWED_OPCODES = {
    "PROTO", "FRAME", "SHORT_BINUNICODE", "BINUNICODE", "MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET",
    "STACK_GLOBAL", "GLOBAL", "MARK", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "EMPTY_TUPLE", "REDUCE", "BININT", "BININT1", "BININT2", "NEWTRUE", "NEWFALSE", "STOP",
}  # fmt: skip


def read_bare_tensor(data: bytes, name: str) -> Array:
    """Return the tensor of a plain ``pickle.dumps(tensor)``.

    Raises:
        CheckpointError: for any opcode or global that such a pickle does not need.
    """
    import torch

    _require_torch()
    try:
        strange = sorted({opcode.name for opcode, _, _ in pickletools.genops(data)} - _ALLOWED_OPCODES)
        others = [
            found
            for found in pickle_globals(data)
            if found not in {*_ALLOWED_GLOBALS, "torch.storage._load_from_bytes"}
        ]
        if others:
            raise CheckpointError(
                f"{safe_text(name)}: expected one plain tensor; its pickle calls {safe_list(others)}. "
                "Nothing was executed"
            )
        if strange:
            raise CheckpointError(
                f"{safe_text(name)}: its pickle does more than hold a tensor ({safe_list(strange)}): refused"
            )
        found = _TensorUnpickler(io.BytesIO(data)).load()
    except CheckpointError:
        raise
    except Exception as error:
        raise _damaged_error(name, error) from error
    if not isinstance(found, torch.Tensor):
        raise CheckpointError(f"{safe_text(name)}: expected a tensor; got {type(found).__name__}")
    return _to_arrays({"": found}, name)[""]


def _load_storage(data: bytes) -> Any:
    return _load_torch(data, "the tensor's storage")


def _rebuild_tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any) -> Any:
    torch = _require_torch()
    if not isinstance(storage, torch.storage.TypedStorage | torch.UntypedStorage):
        raise CheckpointError(f"expected a tensor's storage; got {type(storage).__name__}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch._utils._rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict())

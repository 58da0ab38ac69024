"""Checkpoints of every format, made as their own libraries make them, and hostile ones."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_safetensors

M, D = 4, 8
ROWS = torch.randn(M, D, generator=torch.Generator().manual_seed(0))
DATA = Path(__file__).parents[3] / "shared" / "data"
ABSENT = "the real prompts are not here; un-skip by putting them into ../shared/data beside the repository"


def npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), **options)
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def saved(value: Any, legacy: bool = False, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy, **options)
    return buffer.getvalue()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def kobold(array: Any = None, **meta: Any) -> bytes:
    array = ROWS.numpy() if array is None else array
    meta = {"name": "Sherlock", "supported": ["Generic 6B"], **meta}
    return zipped({"tensor.npy": npy(array), "meta.json": json.dumps(meta).encode()}, zipfile.ZIP_LZMA)


def mkultra(value: Any = None) -> bytes:
    """As mkultra writes it: a protocol-4 pickle of a tensor, in base64, in JSON."""
    value = ROWS if value is None else value
    text = base64.b64encode(pickle.dumps(value, protocol=4)).decode()
    return json.dumps({"metadata": {"name": "Emma", "uuid": "1", "epoch": 1.5}, "tensor": text}).encode()


def header(head: dict[str, Any], numbers: bytes = b"") -> bytes:
    """A safetensors file of a made-up header."""
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def npy_header(text: str, numbers: bytes = b"", length: int | None = None) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) if length is None else length) + text.encode() + numbers


class Bomb:
    """Runs a command of the file's author when it is unpickled freely."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class Quiet:
    """Carries its code in ``__setstate__`` of another class: a BUILD opcode on a torch module."""

    def __reduce__(self) -> tuple[Any, ...]:
        return torch.nn.Linear, (2, 2), {"weight": 1}


def _torch_zip(pickled: bytes) -> bytes:
    """A torch file whose pickle was written by hand."""
    return zipped({"a/data.pkl": pickled, "a/version": b"3\n", "a/byteorder": b"little"})


def bombs(mark: Path) -> dict[str, bytes]:
    """Pickles that would make the file ``mark`` if anything ran them."""
    system = Bomb(os.system, f"touch {mark}")
    evil = Bomb(eval, f"open({str(mark)!r}, 'w')")
    opener = Bomb(open, str(mark), "w")
    text = base64.b64encode(pickle.dumps(system, protocol=4)).decode()
    inner = zipped({"x/data.pkl": pickle.dumps(system), "x/version": b"3", "x/byteorder": b"little"})
    return {
        "os.system in a torch zip": saved({"prompt_embeddings": system}),
        "eval in a torch zip": saved([ROWS, evil]),
        "open in a legacy file": saved({"a": opener}, legacy=True),
        "os.system in a legacy file": saved(system, legacy=True),
        "os.system in a plain pickle": pickle.dumps(system),
        "protocol 0": b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR.",
        "a zip made by hand": inner,
        "INST in a torch zip": _torch_zip(b"(S'touch " + str(mark).encode() + b"'\nios\nsystem\n."),
        "OBJ in a torch zip": _torch_zip(b"(cos\nsystem\nS'touch " + str(mark).encode() + b"'\no."),
        "names out of the memo": _torch_zip(
            b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93\x8c\x04true\x85R."
        ),
        "an extension's code": _torch_zip(b"\x80\x02\x82\x01."),
        "a trillion bytes": _torch_zip(b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R."),
        "a module (Petals)": saved(torch.nn.Embedding(M, D)),
        "a BUILD on a module": saved(Quiet()),
        "mkultra with os.system": json.dumps({"metadata": {}, "tensor": text}).encode(),
        "mkultra with eval": mkultra(evil),
        "mkultra with builtins.getattr": mkultra(Bomb(getattr, "a", "upper")),
        "mkultra whose storage is a bomb": mkultra(Bomb(torch.storage._load_from_bytes, saved(system))),
        "npy of objects": npy(np.array([system], dtype=object), allow_pickle=True),
        "npz of objects": npz(a=np.array([{"a": 1}], dtype=object)),
        "kobold with objects": zipped({"tensor.npy": npy(np.array([system], object), allow_pickle=True)}),
    }


def zip_bombs() -> dict[str, bytes]:
    zeros = bytes(30_000_000)
    overlapping = bytearray(zipped({f"{i}.npy": npy(ROWS.numpy()) for i in range(40)}))
    start = overlapping.index(b"PK\x01\x02")
    at = start
    while (at := overlapping.find(b"PK\x01\x02", at)) >= 0:
        overlapping[at + 20 : at + 24] = struct.pack("<I", 5_000)  # every entry claims the others' bytes
        at += 4
    return {
        "zeros": zipped({"tensor.npy": zeros}, zipfile.ZIP_DEFLATED),
        "zeros in a torch zip": zipped({"a/data.pkl": b"\x80\x02.", "a/data/0": zeros}, zipfile.ZIP_DEFLATED),
        "very many entries": zipped({f"{i}.npy": b"" for i in range(5000)}),
        "overlapping entries": bytes(overlapping),
    }


def climbing() -> dict[str, bytes]:
    """Zips with paths that leave them, and with links."""
    link = zipfile.ZipInfo("tensor.npy")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    good = npy(ROWS.numpy())
    return {
        "up": zipped({"../../tensor.npy": good, "tensor.npy": good}),
        "absolute": zipped({"/tmp/tensor.npy": good}),
        "backslashes": zipped({"..\\..\\tensor.npy": good}),
        "a drive": zipped({"C:/tensor.npy": good}),
        "a link": buffer.getvalue(),
    }


def absurd() -> dict[str, bytes]:
    """Shapes, types, headers and depths that no prompt has."""
    f4 = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    shape = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }"
    deep = "[" * 100_000 + "]" * 100_000
    stretched = torch.zeros(1).expand(2_000_000, 2_000)
    return {
        "nan": npy(np.array([[1.0, np.nan]])),
        "infinity in safetensors": save_safetensors({"a": torch.tensor([[1.0, float("inf")]])}),
        "nan in torch": saved(ROWS.clone().fill_(float("nan"))),
        "float64 beyond float32": npy(np.full((2, 2), 1e300)),
        "integers": npy(np.arange(8).reshape(2, 4)),
        "text": npy(np.array(["a", "b"])),
        "complex": npy(np.ones((2, 2), complex)),
        "integers in torch": saved(torch.ones(2, 3, dtype=torch.long)),
        "integers in safetensors": save_safetensors({"a": torch.ones(2, 3, dtype=torch.long)}),
        "no tensor": saved({"a": 1}),
        "empty": b"",
        "empty tensor": npy(np.zeros((0, 8), np.float32)),
        "a million rows": npy(np.zeros((100_000, 2), np.float16)),
        "seven axes": npy(np.zeros((1,) * 6 + (4, 4), np.float32)),
        "huge npy shape": npy_header(shape % "1000000000000"),
        "negative npy shape": npy_header(shape % "-5"),
        "npy shape of floats": npy_header(shape % "5.5"),
        "npy header of calls": npy_header("__import__('os').system('true')"),
        "npy header that is deep": npy_header("(" * 9000),
        "npy header of open brackets": npy_header("[" * 3000),
        "npy header of 20 kB": npy_header("{" + " " * 20_000),
        "npy of columns": npy(np.zeros(4, "f4,f4")),
        "npy header beyond the file": npy_header("{", length=60_000),
        "npy subarray type": npy_header("{'descr': '(9999,9999)<f8', 'fortran_order': False, 'shape': (9999,), }"),
        "npy of version 9": b"\x93NUMPY\x09\x00" + bytes(100),
        "safetensors header of a petabyte": struct.pack("<Q", 10**11) + b"{" + bytes(100),
        "safetensors header of 5 MB": header({"x" * 5_000_000: f4}, bytes(16)),
        "safetensors that overlap": header({"a": f4, "b": f4}, bytes(16)),
        "safetensors with a gap": header({"a": {**f4, "data_offsets": [8, 24]}}, bytes(24)),
        "safetensors beyond its end": header({"a": f4}, bytes(12)),
        "safetensors of negative shape": header({"a": {**f4, "shape": [-2, -2]}}, bytes(16)),
        "safetensors of huge shape": header({"a": {**f4, "shape": [2**40, 2**40]}}, bytes(16)),
        "safetensors of strange type": header({"a": {**f4, "dtype": "Q9"}}, bytes(16)),
        "safetensors entry that is a list": header({"a": [1, 2]}, bytes(16)),
        "safetensors without tensors": header({}),
        "safetensors with deep json": struct.pack("<Q", 200_006) + b'{"a":' + deep.encode() + b"}",
        "safetensors metadata of numbers": header({"__metadata__": {"a": 1}, "a": f4}, bytes(16)),
        "deep json": b'{"metadata": 1, "tensor": ' + deep.encode() + b"}",
        "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "json without a prompt": b'{"a": 1}',
        "json with NaN": b'{"metadata": NaN, "tensor": "aaaa"}',
        "mkultra without base64": b'{"metadata": {}, "tensor": "\\u00e4\\u00e4"}',
        "mkultra of a number": json.dumps({"metadata": {}, "tensor": 5}).encode(),
        "a stretched tensor": saved({"a": stretched}),
        "a sparse tensor": saved({"a": torch.eye(4).to_sparse()}),
        "a deep pickle": saved(_nested(200)),
        "lists that hold one list a thousand times": saved(_laughing(300)),
        "names of megabytes": saved({"k" * 3_000_000: {"j" * 3_000_000: ROWS}}),
        "json that is one long text": b'{"metadata":1,"tensor":"' + b"\\\\" * 10_000_000,
        "json larger than any prompt": b'{"metadata":1,"tensor":"' + bytes(40_000_000),
        "very deep json": b'{"metadata":1,"tensor":' + b"[" * 20_000_000,
        "random bytes": np.random.default_rng(0).bytes(5000),
        "a text file": b"hello\n" * 100,
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "a pickle's first byte": b"\x80",
        "legacy's first bytes": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        "a zip without entries": zipped({}),
        "a zip of texts": zipped({"a.txt": b"hello"}),
        "a whole model": saved({f"layer.{i}": torch.zeros(2, 2, 2) for i in range(20)}),
    }


def _nested(depth: int) -> Any:
    value: Any = ROWS
    for _ in range(depth):
        value = [value]
    return value


def _laughing(times: int) -> Any:
    value: Any = []
    for _ in range(6):
        value = [value] * times
    return value


def small_files() -> dict[str, bytes]:
    """One small good file of each kind, to be cut at every byte."""
    return {
        "npy": npy(ROWS.numpy()),
        "npz": npz(a=ROWS.numpy()),
        "safetensors": save_safetensors({"emb_params": ROWS}),
        "torch zip": saved(ROWS),
        "torch legacy": saved({"a": ROWS}, legacy=True),
        "kobold": kobold(),
        "mkultra": mkultra(),
    }

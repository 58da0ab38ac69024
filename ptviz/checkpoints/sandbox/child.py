"""The reader process: ``python -m ptviz.checkpoints.sandbox.child PATH`` writes a bundle or a refusal to stdout."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ptviz.checkpoints.containers.arrays import NPY_MAGIC, encode_npy, is_safetensors
from ptviz.checkpoints.detect import open_bytes, open_in_process
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats.peft import CONFIG_FILE, WEIGHT_FILES
from ptviz.checkpoints.formats.ptviz import BUNDLE_MARKER, PROMPT_FILES
from ptviz.checkpoints.limits import hub_blobs
from ptviz.checkpoints.sandbox.parent import encode_bundle, encode_refusal
from ptviz.checkpoints.sandbox.restrictions import restrict_process


def main(path: Path) -> None:
    """Read the checkpoint at ``path`` with the right to read files and no other."""
    _load_libraries(_may_need_torch(path))
    restrict_process(_readable_paths(path))
    try:
        answer = encode_bundle(open_in_process(path))
    except CheckpointError as error:
        answer = encode_refusal(str(error))
    except (MemoryError, RecursionError):
        answer = encode_refusal("reading it needs more memory than a prompt does: refused")
    except Exception as error:  # any exception of a parser on a hostile file is a refusal
        answer = encode_refusal(f"it could not be read as a prompt ({type(error).__name__}): damaged, or no prompt")
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


def _load_libraries(with_torch: bool) -> None:
    """Read small samples, so that every library is mapped: afterwards, none can be."""
    sample = np.ones((2, 2), np.float32)
    encode_bundle(open_bytes(encode_npy(sample), "sample"))
    if not with_torch:
        return
    import torch

    torch.set_num_threads(1)
    torch.nn.LSTM(2, 2)(torch.ones(2, 2))
    for zipped in (False, True):
        buffer = io.BytesIO()
        torch.save(torch.from_numpy(sample), buffer, _use_new_zipfile_serialization=zipped)
        open_bytes(buffer.getvalue(), "sample")


def _readable_paths(path: Path) -> Iterator[Path]:
    """Yield the checkpoint, the folder of an adapter whose file it is, and the Hub's cache that it links to."""
    yield path
    folder = path if path.is_dir() else path.parent
    if (folder / CONFIG_FILE).is_file():
        yield folder
    if (blobs := hub_blobs(folder.resolve())) is not None:
        yield blobs


def _may_need_torch(path: Path) -> bool:
    """Return whether it may have a pickle, or an encoder to run: other files are read faster, without torch."""
    folder = path.parent if path.name == CONFIG_FILE else path
    if folder.is_dir():
        files = (folder / name for name in (*WEIGHT_FILES, *PROMPT_FILES))
        first = next((file for file in files if file.is_file()), None)
        return first is None or _may_need_torch(first)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(100_000)
    if is_safetensors(start[:9]):
        return b"lstm_head" in start
    if start[:4] == b"PK\x03\x04":  # in a zip, the name of the first entry follows
        entry = start[30 : 30 + int.from_bytes(start[26:28], "little")]
        return not (entry.endswith(b".npy") or entry in (b"meta.json", BUNDLE_MARKER.encode()))
    return start[:6] != NPY_MAGIC


if __name__ == "__main__":
    main(Path(sys.argv[1]))

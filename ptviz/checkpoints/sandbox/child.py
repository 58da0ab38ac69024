"""The reader process: ``python -m ptviz.checkpoints.sandbox.child PATH`` writes a bundle or a refusal to stdout."""

from __future__ import annotations

import sys
from pathlib import Path

from ptviz.checkpoints.containers.arrays import NPY_MAGIC, is_safetensors
from ptviz.checkpoints.detect import open_in_process
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats.peft import CONFIG_FILE, WEIGHT_FILES
from ptviz.checkpoints.formats.ptviz import BUNDLE_MARKER, PROMPT_FILES
from ptviz.checkpoints.sandbox.parent import encode_bundle, encode_refusal
from ptviz.checkpoints.sandbox.restrictions import restrict_process


def main(path: Path) -> None:
    """Read the checkpoint at ``path`` with the right to read files and no other."""
    if _may_need_torch(path):
        import torch  # before the limits: its libraries map far more memory than any prompt needs

        torch.set_num_threads(1)
    restrict_process()
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
        return b"new_lstm_head" in start
    if start[:4] == b"PK\x03\x04":  # in a zip, the name of the first entry follows
        entry = start[30 : 30 + int.from_bytes(start[26:28], "little")]
        return not (entry.endswith(b".npy") or entry in (b"meta.json", BUNDLE_MARKER.encode()))
    return start[:6] != NPY_MAGIC


if __name__ == "__main__":
    main(Path(sys.argv[1]))

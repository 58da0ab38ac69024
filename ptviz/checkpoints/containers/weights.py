"""Read a file of weights by its content, and name what was saved under its name instead of weights."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ptviz.checkpoints.bundle import Array
from ptviz.checkpoints.containers import torch_pickle
from ptviz.checkpoints.containers.arrays import is_safetensors, read_safetensors
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.limits import check_size
from ptviz.safe_text import safe_text

_ERRORS = "an error message of a server, saved under this name. "
_AGAIN = "Download the file itself again, for example with `hf download`, or from its page's download button"
_NO_WEIGHTS = {
    rb"version https://git-lfs\.github\.com/": (
        "a pointer of git LFS, not the file that it points to. Run `git lfs install` and `git lfs pull` in its folder, "
        "or download the file from its page"
    ),
    rb"<(!doctype|html|head|body|\?xml|!--|error)\b": f"a web page, saved under this name. {_AGAIN}",
    rb"\{\s*\"(error|errors|message|detail|code|status|statuscode)\"\s*:": f"{_ERRORS}{_AGAIN}",
    rb"(access to|(entry |repository |404:? ?)?not found|invalid (username|credentials)|unauthorized|forbidden)": (
        f"{_ERRORS}{_AGAIN}"
    ),
    rb"\x1f\x8b": "compressed with gzip. Unpack it first, with `gunzip` or `tar -xzf`",
    rb"(rar!|7z\xbc\xaf|\xfd7zxz|bzh\d)": "a compressed archive. Unpack it first",
    rb"gguf": "a complete model in GGUF format, and no soft prompt",
}
"""What a file begins with, case ignored, and what it is."""


def check_content(data: bytes, name: str) -> None:
    """Check that a file is not something else that was saved under its name.

    Raises:
        CheckpointError: for an empty file, a pointer of git LFS, a web page, an error message or another archive, with
            how to get the file.
    """
    check_size(len(data), safe_text(name), len(data))
    start = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, what in _NO_WEIGHTS.items():
        if re.match(pattern, start, re.IGNORECASE):
            raise CheckpointError(f"{safe_text(name)}: expected a trained prompt; this is {what}")
    if not data[:4096].strip(b"\0"):
        raise CheckpointError(f"{safe_text(name)}: expected a trained prompt; it begins with zeros only. {_AGAIN}")


def read_weights(data: bytes, name: str) -> tuple[Mapping[str, Array], Mapping[str, str]]:
    """Return the floating-point tensors of safetensors or a torch file, and its texts; the content decides which.

    Raises:
        CheckpointError: if it is neither, is damaged or exceeds a limit.
    """
    check_content(data, name)
    if is_safetensors(data[:9]):
        found = read_safetensors(data, name)
        return found.tensors, found.metadata
    return torch_pickle.read_torch_file(data, name)

"""Projections computed one after another in a process of their own: UMAP and t-SNE take minutes of processor time.

``python -m ptviz.worker.projection_process`` reads the folder of one job a line. It ends after five idle minutes, or
when its input is closed. It stays between jobs: loading UMAP takes longer than a projection.

A folder is named by the hash of its job, so a projection is computed once. It holds ``order.npz`` until ``map.npz`` (or
``failed.txt``, a message) exists, and ``progress.json`` until then.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import queue
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Annotated, Literal
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float
from msgspec import Meta, Struct

from ptviz.analysis.projection import Projection, ProjectionMethod, project_together
from ptviz.atomic_files import write_file
from ptviz.validation import InvalidData, Name, Share, decode_json

_PHASE_STARTS = {"loading": 0.0, "looking": 0.2, "fitting": 0.4, "placing": 0.9}
"""Where each leg of the work begins, as a share of all of it; the two first are as long as the third."""
_IDLE_SECONDS = 300.0
_REPORT_INTERVAL = 0.3
_FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class ProjectionJob:
    """What a map is made of: vocabulary tokens (b, d), the steps of some prompts, and how to lay them."""

    words: Float[np.ndarray, "b d"]
    prompts: tuple[Float[np.ndarray, "_ _ d"], ...]
    kind: ProjectionMethod
    dims: int = 2
    normalise: bool = False
    seed: int = 0

    @property
    def digest(self) -> str:
        """The hash of the whole content: the name of its folder."""
        sizes = [self.words.shape, *(prompt.shape for prompt in self.prompts)]
        settings = json.dumps([_FORMAT_VERSION, sizes, self.kind, self.dims, self.normalise, self.seed])
        digest = hashlib.sha256(settings.encode())
        for rows in (self.words, *self.prompts):
            digest.update(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        return digest.hexdigest()[:24]


@dataclass(frozen=True)
class ProjectionProgress:
    """How far an order is: ``share`` (0 to 1) of the work; ``problem`` says in words why there will be no map."""

    doing: str
    share: float
    error: str = ""


def enqueue(order: ProjectionJob, folder: Path) -> None:
    """Write a job into its folder, unless it or its result exists; an earlier failure is cleared.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failed.txt").unlink(missing_ok=True)
    if (folder / "map.npz").exists() or (folder / "order.npz").exists():
        return
    prompts = {f"prompt{i}": np.asarray(prompt, dtype=np.float32) for i, prompt in enumerate(order.prompts)}
    how = np.array(json.dumps([order.kind, order.dims, order.normalise, order.seed]))
    _save_npz(folder / "order.npz", how=how, words=np.asarray(order.words, dtype=np.float32), **prompts)


def cancel(folder: Path) -> None:
    """Cancel the projection job in a folder."""
    (folder / "order.npz").unlink(missing_ok=True)


def is_pending(folder: Path) -> bool:
    """Return whether the job in a folder is queued or being computed."""
    return (folder / "order.npz").exists()


def load_projection(folder: Path) -> tuple[Projection, ...] | None:
    """The finished map of a folder, one ``Projection`` a prompt; None if it is not there, or damaged."""
    try:
        # Opened here: numpy leaves a file open that it cannot make sense of.
        with (folder / "map.npz").open("rb") as whole, np.load(whole, allow_pickle=False) as file:
            kind: ProjectionMethod = str(file["kind"])  # type: ignore[assignment]
            count = sum(name.startswith("prompt") for name in file.files)
            return tuple(Projection(kind, file["words"], file[f"prompt{i}"]) for i in range(count))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        # A copy that was cut short: throw it away, it is computed again.
        with suppress(OSError):
            (folder / "map.npz").unlink()
        return None


class _Settings(Struct, array_like=True):
    kind: ProjectionMethod
    dims: Literal[2, 3]
    normalise: bool
    seed: Annotated[int, Meta(ge=0, lt=2**32)]


class _ProgressFile(Struct):
    doing: Name
    share: Share


def load_progress(folder: Path) -> ProjectionProgress:
    """Return the progress of the job in a folder."""
    with suppress(OSError):
        return ProjectionProgress("failed", 0.0, (folder / "failed.txt").read_text(encoding="utf-8", errors="replace"))
    with suppress(OSError, InvalidData):
        found = decode_json((folder / "progress.json").read_bytes(), _ProgressFile)
        return ProjectionProgress(found.doing, found.share)
    return ProjectionProgress("waiting for its turn", 0.0)


def run_job(folder: Path) -> None:
    """Compute the projection requested in a folder and write it there, or a message if it fails."""
    if not (folder / "order.npz").exists():
        return  # taken back
    last = [0.0]

    def tell(doing: str, share: float) -> None:
        now = time.monotonic()
        begins = _PHASE_STARTS[doing.split()[0]]
        ends = min((other for other in _PHASE_STARTS.values() if other > begins), default=1.0)
        if share == 0.0 or now - last[0] > _REPORT_INTERVAL:
            last[0] = now
            said = {"doing": doing, "share": begins + share * (ends - begins)}
            with suppress(OSError):  # The projection does not depend on it.
                write_file(folder / "progress.json", json.dumps(said).encode(), durable=False)

    try:
        with np.load(folder / "order.npz", allow_pickle=False) as file:
            how = decode_json(str(file["how"]).encode(), _Settings)
            count = sum(name.startswith("prompt") for name in file.files)
            words, prompts = file["words"], [file[f"prompt{i}"] for i in range(count)]
        maps = project_together(
            words, prompts, how.kind, how.dims, normalise=how.normalise, seed=how.seed, on_progress=tell
        )
        _save_npz(
            folder / "map.npz", kind=np.array(how.kind), words=_as_float32(maps[0].background), **_prompt_arrays(maps)
        )
    except Exception as error:
        write_file(folder / "failed.txt", f"{type(error).__name__}: {error}".encode(), durable=False)
    # The order last: as long as it is there, the work is under way.
    for name in ("progress.json", "order.npz"):
        (folder / name).unlink(missing_ok=True)


def _prompt_arrays(maps: Sequence[Projection]) -> dict[str, np.ndarray]:
    return {f"prompt{i}": _as_float32(one.tokens) for i, one in enumerate(maps)}


def _as_float32(places: np.ndarray) -> np.ndarray:
    return np.asarray(places, dtype=np.float32)


def _save_npz(path: Path, **arrays: np.ndarray) -> None:
    data = io.BytesIO()
    np.savez(data, **arrays)  # type: ignore[arg-type]
    write_file(path, data.getvalue(), durable=False)


def main() -> None:
    """Compute the projections whose folders arrive on stdin, one a line."""
    orders: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            orders.put(line.rstrip("\n"))
        os._exit(0)  # the worker has ended: the result is not needed

    Thread(target=listen, daemon=True).start()
    with suppress(OSError, AttributeError):
        os.nice(7)  # training and pages go first
    with suppress(queue.Empty):
        while True:
            run_job(Path(orders.get(timeout=_IDLE_SECONDS)))


if __name__ == "__main__":
    main()

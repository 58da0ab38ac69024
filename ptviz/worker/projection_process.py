"""Maps computed one after another in a process of their own: UMAP and t-SNE keep a processor busy for minutes.

``python -m ptviz.worker.projection_process`` reads the folder of one order a line, and ends when it has heard of none
for a
while, or when nobody can write to it any more. It stays between orders: loading UMAP takes longer than a map.

A folder is named after the content of its order, so a map is computed once. It holds ``order.npz`` until
``map.npz`` (or ``failed.txt``, in words for a person) is there, and ``progress.json`` on the way.
"""

from __future__ import annotations

import hashlib
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
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from ptviz.analysis.projection import Kind, Map, project_together

_SHARES = {"loading": 0.0, "looking": 0.2, "fitting": 0.4, "placing": 0.9}
"""Where each leg of the work begins, as a share of all of it; the two first are as long as the third."""
_IDLE = 300.0
_OFTEN = 0.3
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Order:
    """What a map is made of: vocabulary tokens (b, d), the steps of some prompts, and how to lay them."""

    words: Float[np.ndarray, "b d"]
    prompts: tuple[Float[np.ndarray, "_ _ d"], ...]
    kind: Kind
    dims: int = 2
    normalise: bool = False
    seed: int = 0

    @property
    def name(self) -> str:
        """A folder's name that stands for the whole content."""
        sizes = [self.words.shape, *(prompt.shape for prompt in self.prompts)]
        told = json.dumps([_FORMAT, sizes, self.kind, self.dims, self.normalise, self.seed])
        digest = hashlib.sha256(told.encode())
        for rows in (self.words, *self.prompts):
            digest.update(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        return digest.hexdigest()[:24]


@dataclass(frozen=True)
class Progress:
    """How far an order is: ``share`` (0 to 1) of the work; ``problem`` says in words why there will be no map."""

    doing: str
    share: float
    problem: str = ""


def place(order: Order, folder: Path) -> None:
    """Put an order into its folder, unless it is there or its map is; an earlier failure is forgotten.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failed.txt").unlink(missing_ok=True)
    if (folder / "map.npz").exists() or (folder / "order.npz").exists():
        return
    prompts = {f"prompt{i}": np.asarray(prompt, dtype=np.float32) for i, prompt in enumerate(order.prompts)}
    how = np.array(json.dumps([order.kind, order.dims, order.normalise, order.seed]))
    _save(folder / "order.npz", how=how, words=np.asarray(order.words, dtype=np.float32), **prompts)


def drop(folder: Path) -> None:
    """Take an order back: whoever works on it is to leave it."""
    (folder / "order.npz").unlink(missing_ok=True)


def ordered(folder: Path) -> bool:
    """Whether a map is waited for: its order is there, and the map is not."""
    return (folder / "order.npz").exists()


def laid(folder: Path) -> tuple[Map, ...] | None:
    """The finished map of a folder, one ``Map`` a prompt; None if it is not there, or damaged."""
    try:
        # Opened here: numpy leaves a file open that it cannot make sense of.
        with (folder / "map.npz").open("rb") as whole, np.load(whole, allow_pickle=False) as file:
            kind: Kind = str(file["kind"])  # type: ignore[assignment]
            count = sum(name.startswith("prompt") for name in file.files)
            return tuple(Map(kind, file["words"], file[f"prompt{i}"]) for i in range(count))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        # A copy that was cut short: throw it away, it is computed again.
        with suppress(OSError):
            (folder / "map.npz").unlink()
        return None


def progress(folder: Path) -> Progress:
    """How far the order in a folder is."""
    with suppress(OSError):
        return Progress("failed", 0.0, (folder / "failed.txt").read_text(encoding="utf-8"))
    with suppress(OSError, ValueError, KeyError, TypeError):
        data = json.loads((folder / "progress.json").read_bytes())
        return Progress(str(data["doing"]), float(data["share"]))
    return Progress("waiting for its turn", 0.0)


def lay(folder: Path) -> None:
    """Compute the map that is ordered in a folder and put it there; a failure is put there in words."""
    if not (folder / "order.npz").exists():
        return  # taken back
    last = [0.0]

    def tell(doing: str, share: float) -> None:
        now = time.monotonic()
        begins = _SHARES[doing.split()[0]]
        ends = min((other for other in _SHARES.values() if other > begins), default=1.0)
        if share == 0.0 or now - last[0] > _OFTEN:
            last[0] = now
            said = {"doing": doing, "share": begins + share * (ends - begins)}
            _write(folder / "progress.json", json.dumps(said).encode())

    try:
        with np.load(folder / "order.npz", allow_pickle=False) as file:
            kind, dims, normalise, seed = json.loads(str(file["how"]))
            count = sum(name.startswith("prompt") for name in file.files)
            words, prompts = file["words"], [file[f"prompt{i}"] for i in range(count)]
        maps = project_together(words, prompts, kind, dims, normalise=normalise, seed=seed, tell=tell)
        _save(folder / "map.npz", kind=np.array(kind), words=_short(maps[0].background), **_named(maps))
    except Exception as error:
        _write(folder / "failed.txt", f"{type(error).__name__}: {error}".encode())
    # The order last: as long as it is there, the work is under way.
    for name in ("progress.json", "order.npz"):
        (folder / name).unlink(missing_ok=True)


def _named(maps: Sequence[Map]) -> dict[str, np.ndarray]:
    return {f"prompt{i}": _short(one.tokens) for i, one in enumerate(maps)}


def _short(places: np.ndarray) -> np.ndarray:
    return np.asarray(places, dtype=np.float32)


def _save(path: Path, **arrays: np.ndarray) -> None:
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    np.savez(draft, **arrays)  # type: ignore[arg-type]
    draft.replace(path)


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    draft.write_bytes(data)
    draft.replace(path)


def main() -> None:
    """Lay the maps that are asked for, one folder a line."""
    orders: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            orders.put(line.rstrip("\n"))
        os._exit(0)  # whoever asked is gone: nobody waits for what is under way

    Thread(target=listen, daemon=True).start()
    with suppress(OSError, AttributeError):
        os.nice(7)  # training and pages go first
    with suppress(queue.Empty):
        while True:
            lay(Path(orders.get(timeout=_IDLE)))


if __name__ == "__main__":
    main()

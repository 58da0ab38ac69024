"""Where a run is trained: by the worker of this machine, or on a cluster with resources of its own."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from ptviz.runs.run_file_io import StoreError, atomic_write, to_store_error
from ptviz.validation import InvalidData, Name, decode_json

_FILE = "cluster.json"


@dataclass(frozen=True)
class ClusterResources:
    """What a run asks of a node, and how often it is tried elsewhere after its node died.

    ``shared`` says that all nodes see the folder of runs under the same path, and the run is written there directly.
    ``sources`` are the runs of the source prompts that must have finished before.
    """

    cpus: Annotated[float, Meta(gt=0, le=1024)] = 1.0
    gpus: Annotated[float, Meta(ge=0, le=64)] = 0.0
    retries: Annotated[int, Meta(ge=0, le=1000)] = 10
    shared: bool = False
    sources: Annotated[tuple[Name, ...], Meta(max_length=1000)] = ()

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: naming the resource, what was expected and what came.
        """
        for name, low, high in (("cpus", 0.01, 1024), ("gpus", 0, 64), ("retries", 0, 1000)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}: expected a number from {low:g} to {high:g}; got {getattr(self, name):g}")


def place_on_cluster(folder: Path, resources: ClusterResources) -> None:
    """Mark a run as one of the cluster, which the worker of this machine leaves alone.

    Raises:
        StoreError: if the folder cannot be written.
    """
    atomic_write(folder / _FILE, json.dumps(asdict(resources)).encode())


def place_locally(folder: Path) -> None:
    """Leave a run to the worker of this machine again.

    Raises:
        StoreError: if the folder cannot be written.
    """
    try:
        (folder / _FILE).unlink(missing_ok=True)
    except OSError as error:
        raise to_store_error(error, folder) from error


def cluster_resources(folder: Path) -> ClusterResources | None:
    """Return what a run asks of the cluster; None for a run of this machine. A damaged file asks for the defaults."""
    with suppress(FileNotFoundError):
        try:
            return decode_json((folder / _FILE).read_bytes(), ClusterResources)
        except InvalidData:
            return ClusterResources()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{folder / _FILE} cannot be read: {error.strerror or error}") from error
    return None

"""The address of a Ray cluster, and clusters that only this machine reaches.

Ray replaces 127.0.0.1 by an address of this machine in the network, and listens there on all ports, unless
``LOOPBACK_VARIABLE`` is "0". The variable's name is about other systems; it has the same effect on Linux.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import NamedTuple

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Before ray is imported, which reads it.

from ray._private import ray_constants, utils

LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
START_COMMAND = f"{LOOPBACK_VARIABLE}=0 ray start --head --node-ip-address=127.0.0.1 --include-dashboard=false"
"""Starts a cluster that only this machine reaches."""
_ANSWER_SECONDS = 5.0


class ClusterPort(NamedTuple):
    """Where the head of a cluster listens."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine reaches it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def answers(self) -> bool:
        """Return whether something listens there; Ray itself would wait for minutes."""
        try:
            with socket.create_connection(self, timeout=_ANSWER_SECONDS):
                return True
        except OSError:
            return False


def find_port(address: str) -> ClusterPort | None:
    """Return the port of an address, or of the cluster that this machine belongs to; None if that is not known."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or utils.read_ray_address() or ""
    host, colon, port = address.rpartition(":")
    with suppress(ValueError):
        if colon and "/" not in host:
            return ClusterPort(host.strip("[]"), int(port))
    return None


def keep_on_loopback() -> None:
    """Have Ray take 127.0.0.1 as it is, in this process and in those that it starts."""
    os.environ[LOOPBACK_VARIABLE] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False  # Read from the environment when Ray was imported.

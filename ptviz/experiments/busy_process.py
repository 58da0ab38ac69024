"""Another process that keeps a processor core busy, as a neighbour on a shared machine does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_WORK = "import torch; torch.set_num_threads(1); print(flush=True); x = torch.randn(800, 800)\nwhile True: x @ x"


@contextmanager
def busy_process() -> Iterator[None]:
    """Run matrix products on one thread of another process until the block ends."""
    with subprocess.Popen([sys.executable, "-c", _WORK], stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError("expected a busy process beside the measurement; it ended at once")
            yield
        finally:
            process.kill()

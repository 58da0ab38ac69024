"""Transfer measured by the nodes of a Ray cluster: scores, and short trainings from the prompts of other tasks.

The command is the only one that writes the record, as locally: it sends jobs with the prompts that they need, and saves
what comes back. A job whose node died is done elsewhere; a result is saved once. Nothing is written on the nodes beyond
their caches, so a shared folder makes no difference.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import ptviz
from ptviz.executors.ray import RayExecutor
from ptviz.executors.ray_errors import LOST, loss_reason, task_reason
from ptviz.executors.ray_node import (
    Content,
    content_digest,
    local_paths,
    node_models,
    pack_content,
    prepare_node,
    scratch_folder,
    unpack_content,
    with_paths_of_node,
)
from ptviz.executors.run_mirror import unpack_on_node
from ptviz.experiments.transfer_gain import TransferRunJob, train_jobs
from ptviz.experiments.transfer_results import TargetTask, TransferRun, TransferScore, no_prompt_key
from ptviz.experiments.zero_shot_transfer import ScoreJob, measure_jobs
from ptviz.runs.config import RunConfig
from ptviz.runs.run import read_config
from ptviz.runs.run_file_io import to_store_error
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.runs.store import Store, encode_config
from ptviz.runs.target_run import TARGET_MARK

import ray  # isort: skip  # After ray_node, which turns its usage reports off.
from ray import exceptions  # isort: skip

_MAX_SCORES = 8
"""Scores in one task of Ray: enough to outweigh its start, few enough to spread them and to show progress."""
_MAX_PREPARED = 2
"""Tasks for each place in the cluster that are sent ahead, so that no node waits and no memory fills."""
_PROMPT_FILES = ("config.json", "status.json", "environment.json", "prompt.safetensors")

Outcome = TransferScore | TransferRun


class _Task(NamedTuple):
    """What one task of Ray does: jobs, and the function that does them on a node."""

    jobs: tuple[Any, ...]
    remote: Any


class _Parcel(NamedTuple):
    """Jobs on their way to a node, with the prompts and the local models and tables that they use."""

    jobs: tuple[Any, ...]
    prompts: Mapping[str, Mapping[str, bytes]]
    contents: tuple[Content, ...]


class ClusterTransfer:
    """Measures transfer on the cluster of an executor: ``measure`` and ``train`` are those of ``ptviz.experiments``."""

    def __init__(self, executor: RayExecutor) -> None:
        self.executor, self.store = executor, executor.store
        self._contents: dict[Path, Content] = {}

    def measure(self, jobs: Sequence[ScoreJob]) -> Generator[TransferScore, None, None]:
        """Yield the scores of jobs as they come; one that cannot be measured has a ``reason``.

        Raises:
            ValueError: if no node has what a job asks for.
            StoreError: if the prompt of a run cannot be read.
        """
        tasks = []
        for _, group in groupby(jobs, key=lambda job: (job.config.backbone, job.target)):
            same = list(group)
            for start in range(0, len(same), _MAX_SCORES):
                tasks.append(_Task(tuple(same[start : start + _MAX_SCORES]), _measure_on_node))
        yield from self._run(tasks, _failed_score)

    def train(self, jobs: Sequence[TransferRunJob]) -> Generator[TransferRun | None, None, None]:
        """Yield the runs of jobs as they end; one that fails has a ``reason``.

        Raises:
            ValueError: if no node has what a job asks for.
        """
        yield from self._run([_Task((job,), _train_on_node) for job in jobs], _failed_run)

    def _run(self, tasks: Sequence[_Task], fail: Any) -> Generator[Any, None, None]:
        """Yield the outcomes of tasks as they come, each once; a task whose node died is done again."""
        resources = self.executor.resources
        self.executor.check_resources()
        places = max(1, int(ray.cluster_resources().get("CPU", 1) / resources.cpus))
        waiting = deque((task, resources.retries) for task in tasks)
        running: dict[Any, tuple[_Task, int]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < _MAX_PREPARED * places:
                    task, retries = waiting.popleft()
                    running[self._submit(task)] = task, retries
                for reference in ray.wait(list(running), num_returns=1)[0]:
                    task, retries = running.pop(reference)
                    try:
                        yield from ray.get(reference)
                    except LOST as error:
                        if retries:
                            waiting.appendleft((task, retries - 1))
                        else:
                            yield from (fail(job, loss_reason(error, resources.retries + 1)) for job in task.jobs)
                    except exceptions.RayError as error:
                        yield from (fail(job, task_reason(error)) for job in task.jobs)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def _submit(self, task: _Task) -> Any:
        resources = self.executor.resources
        paths = dict.fromkeys(path for job in task.jobs for path in local_paths(_target_config(job)))
        contents = tuple(self._content(path) for path in paths)
        # Within a list, so that the node reads it after it has compared versions.
        sent = [ray.put(_Parcel(task.jobs, self._pack_prompts(task.jobs), contents))]
        remote = task.remote.options(num_cpus=resources.cpus, num_gpus=resources.gpus, name="ptviz transfer")
        return remote.remote(ptviz.__version__, resources.cpus, sent)

    def _content(self, path: Path) -> Content:
        """Return a local model or table in the object store, put there once."""
        if path not in self._contents:
            self._contents[path] = pack_content(path, content_digest(path))
        return self._contents[path]

    def _pack_prompts(self, jobs: Sequence[Any]) -> dict[str, dict[str, bytes]]:
        """Return the files of the prompts of score jobs, by the id of the run; a training has its start in the job."""
        found: dict[str, dict[str, bytes]] = {}
        for job in jobs:
            if isinstance(job, ScoreJob) and not (id := job.key[0]).startswith("bare:"):
                whole = id.partition(TARGET_MARK)[0]  # The targets of one run share its files.
                found[whole] = _read_files(_prompt_folder(self.store, whole))
        return found


def _target_config(job: ScoreJob | TransferRunJob) -> RunConfig:
    """Return a config that names what a job uses: the backbone and tables of its run, and the task."""
    if isinstance(job, TransferRunJob):
        return job.config
    return replace(job.config, more_tasks=(*job.config.more_tasks, job.target.name))


def _prompt_folder(store: Store, id: str) -> Path:
    is_saved = id.startswith(SAVED_PREFIX)
    return store.prompts_folder / id.removeprefix(SAVED_PREFIX) if is_saved else store.folder(id)


def _read_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a run or saved prompt that a score needs.

    Raises:
        StoreError: if one cannot be read.
    """
    try:
        return {
            name: (folder / name).read_bytes() for name in (*_PROMPT_FILES, "about.json") if (folder / name).exists()
        }
    except OSError as error:
        raise to_store_error(error, folder) from error


@ray.remote(max_retries=0)  # type: ignore[untyped-decorator,unused-ignore]
def _measure_on_node(version: str, cpus: float, sent: Sequence[Any]) -> list[TransferScore]:
    """Measure scores on this node; the keys and stamps of the outcomes are those of the jobs."""
    prepare_node(version, cpus)
    parcel: _Parcel = ray.get(sent[0])
    places = {content.path: str(unpack_content(content)) for content in parcel.contents}
    with scratch_folder() as scratch:
        store = Store(scratch / "runs")
        for id, files in parcel.prompts.items():
            folder = _prompt_folder(store, id)
            unpack_on_node(folder, files)
            if "config.json" in files:
                config = with_paths_of_node(read_config(folder), places)
                (folder / "config.json").write_bytes(encode_config(config))
        found = list(measure_jobs(store, [_job_of_node(job, places) for job in parcel.jobs], node_models()))
    return [
        replace(score, run=job.key[0], task=job.key[1], stamp=job.stamp)
        for score, job in zip(found, parcel.jobs, strict=True)
    ]


def _job_of_node(job: ScoreJob, places: Mapping[str, str]) -> ScoreJob:
    """Return a job in which local models and tables are the copies on this node."""
    config = with_paths_of_node(job.config, places)
    target: TargetTask = replace(job.target, name=places.get(job.target.name, job.target.name))
    id, _, rows = job.key
    own = no_prompt_key(config.backbone) if id == no_prompt_key(job.config.backbone) else id
    return ScoreJob((own, target.key, rows), config, target, job.stamp)


@ray.remote(max_retries=0)  # type: ignore[untyped-decorator,unused-ignore]
def _train_on_node(version: str, cpus: float, sent: Sequence[Any]) -> list[TransferRun]:
    """Train short runs on this node; the keys and stamps of the outcomes are those of the jobs."""
    prepare_node(version, cpus)
    parcel: _Parcel = ray.get(sent[0])
    places = {content.path: str(unpack_content(content)) for content in parcel.contents}
    own = [job._replace(config=with_paths_of_node(job.config, places)) for job in parcel.jobs]
    return [run for run in train_jobs(own, node_models()) if run is not None]


def _failed_score(job: ScoreJob, reason: str) -> TransferScore:
    return TransferScore(*job.key, math.nan, math.nan, job.stamp, reason)


def _failed_run(job: TransferRunJob, reason: str) -> TransferRun:
    return TransferRun(*job.key, stamp=job.fingerprint, reason=reason)

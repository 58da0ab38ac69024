"""A visitor's executor: it trains what the rules of the classroom allow, and changes no run but their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptviz import paths
from ptviz.classroom.rules import backbones_here, is_inside
from ptviz.classroom.visitor_store import VisitorStore
from ptviz.executors.local import LocalExecutor
from ptviz.runs import saved_prompts
from ptviz.runs.config import RunConfig, with_absolute_paths
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError, to_store_error
from ptviz.runs.stop_request import STOPPED_BY_USER

if TYPE_CHECKING:
    from torch import Tensor


class VisitorExecutor(LocalExecutor):
    """The executor of this machine as one visitor may use it; ``uploads`` is the folder of their uploads."""

    store: VisitorStore

    def __init__(self, store: VisitorStore, uploads: Path) -> None:
        super().__init__(store)
        self.uploads = uploads

    def check_submissions(self, configs: Sequence[RunConfig]) -> None:
        """Check that the visitor may queue all of these new runs.

        Raises:
            ValueError: if one breaks a rule of the classroom, or they are too many.
        """
        for config in configs:
            self.store.rules.check(with_absolute_paths(config), self.uploads)
        self.store.rules.check_count(len(self.store.own_runs()), len(configs))

    def submit(self, config: RunConfig) -> Run:
        """Queue a new run of the visitor; see ``StoreExecutor.submit``."""
        self.check_submissions([config])  # Before anything is loaded by a name from the visitor.
        return super().submit(config)

    def stop(self, id: str, reason: str = STOPPED_BY_USER) -> None:
        """Stop an own run; see ``StoreExecutor.stop``."""
        self.store.check_own(id)
        super().stop(id, reason)

    def resume(self, id: str) -> Run:
        """Queue an own run again; see ``StoreExecutor.resume``."""
        self.store.check_own(id)
        self.store.rules.check(self.store.get(id).config, self.uploads)
        return super().resume(id)

    def extend(self, id: str, steps: int) -> Run:
        """Queue an own run for more steps, in all no more than a new one may have; see ``StoreExecutor.extend``."""
        self.store.check_own(id)
        config = self.store.get(id).config
        training = replace(config.training, steps=config.training.steps + max(steps, 0))
        self.store.rules.check(replace(config, training=training), self.uploads)
        return super().extend(id, steps)

    def ask(self, kind: str, run: str = "", *, timeout: float = 120.0, **question: Any) -> dict[str, Any]:
        """Return the worker's answer to a question that names nothing of others; see ``LocalExecutor.ask``."""
        self._check_question(kind, run, question)
        answer = super().ask(kind, run, timeout=timeout, **question)
        if kind == "surgery" and question.get("what") == "save":
            return {**answer, "place": str(self._take_saved_prompt(str(answer["id"])))}
        return answer

    def preload_models(self, config: RunConfig) -> None:
        """Have an idle worker load the models of a run, if the visitor may train it."""
        with suppress(ValueError):
            self.store.rules.check(with_absolute_paths(config), self.uploads)
            super().preload_models(config)

    def _create(self, config: RunConfig, start: Mapping[str, Tensor] | None = None) -> Run:
        self.check_submissions([config])  # Also of a branch.
        return super()._create(config, start)

    def _check_question(self, kind: str, run: str, question: Mapping[str, Any]) -> None:
        """Check what a question names besides its run.

        Raises:
            ValueError: for a setting that the rules refuse.
            StoreError: for a run, a saved prompt, a file or a backbone that is not the visitor's to use.
        """
        if kind == "zero-shot":  # It writes into the run.
            self.store.check_own(run)
        if kind == "surgery" and question.get("what") == "save":
            self.store.check_new_saved_prompt()
        if kind == "speed":
            self.store.rules.check(RunConfig.from_json(question["config"]), self.uploads)
        backbone, path = str(question.get("backbone", "")), str(question.get("path", ""))
        if backbone and backbone not in backbones_here():
            raise StoreError(f"backbone: expected one on this machine; got {backbone[:80]!r}")
        if path and not is_inside(Path(path), self.uploads, paths.gallery_dir()):
            raise StoreError("path: expected a file that you uploaded; paths on this machine are off in a classroom")
        for edit in question.get("edits", ()):
            if edit.get("of") == "kept":
                saved_prompts.get_saved_prompt(self.store.prompts_folder, str(edit.get("id")))
            elif "of" in edit:
                self.store.get(str(edit.get("id")))

    def _take_saved_prompt(self, id: str) -> Path:
        """Move a prompt that the worker has saved to those of the visitor, and return its folder."""
        own = self.store.prompts_folder / id
        try:
            own.parent.mkdir(parents=True, exist_ok=True)
            (self.store.whole.prompts_folder / id).rename(own)
        except OSError as error:
            raise to_store_error(error, own) from error
        return own

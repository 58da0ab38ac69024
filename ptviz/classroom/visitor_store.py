"""A visitor's view of the store: the recorded runs, those the teacher has shared, and their own."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ptviz import paths
from ptviz.classroom.rules import MAX_SAVED_PROMPTS, ClassroomRules
from ptviz.runs.annotations import Annotations, read_annotations
from ptviz.runs.run import is_recorded
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.saved_prompts import VISITORS_FOLDER, list_saved_prompts
from ptviz.runs.store import RUN_ID_PATTERN, RunSummaries, Store, StoreProblem
from ptviz.runs.target_run import TARGET_MARK

NOBODY = "nobody"
"""The owner of nothing: what asks outside of a visitor's session sees no more than everybody does."""


def uploads_folder(owner: str) -> Path:
    """Return the folder of a visitor's uploaded files."""
    return paths.data_dir() / "uploads" / "visitors" / owner


class VisitorStore(Store):
    """The store ``whole`` as one visitor sees it. What is not theirs and not shared does not exist here."""

    def __init__(self, whole: Store, owner: str, rules: ClassroomRules) -> None:
        super().__init__(whole.root)
        if not owner.isalnum():
            raise ValueError(f"owner: expected letters and digits; got {owner[:40]!r}")
        self.whole, self.owner, self.rules = whole, owner, rules
        self._runs = whole._runs  # A run that many look at is read once.
        self._cache_lock = whole._cache_lock

    @property
    def prompts_folder(self) -> Path:
        """Return the folder of the visitor's own saved prompts."""
        return self.whole.prompts_folder / VISITORS_FOLDER / self.owner

    def list(self) -> RunSummaries:
        """Return the readable runs that the visitor may see, the newest first."""
        return [summary for summary in self.whole.list() if self._sees(summary.annotations)]

    def own_runs(self) -> RunSummaries:
        """Return the runs that the visitor has started, the newest first."""
        return [summary for summary in self.list() if summary.annotations.owner == self.owner]

    def problems(self) -> tuple[StoreProblem, ...]:
        """Return nothing: whose a damaged run is cannot be known."""
        return ()

    def folder(self, id: str) -> Path:
        """Return where a run is that the visitor may see, or would be.

        Raises:
            StoreError: if there is another's.
        """
        path = super().folder(id)
        if path.is_dir() and not self._may_read(path):
            raise self._unknown(id)
        return path

    def claim_draft(self, draft: Path) -> None:
        """Note that a new run is the visitor's, after checking that they may have one more.

        Raises:
            StoreError: if they may not, or it cannot be noted.
        """
        if self.owner == NOBODY:
            raise StoreError("a run of a classroom needs a visitor: reload the page")
        try:
            self.rules.check_count(len(self.own_runs()))
        except ValueError as error:
            raise StoreError(str(error)) from None
        super().claim_draft(draft)

    def check_unrestricted(self, what: str) -> None:
        """Refuse what concerns all runs.

        Raises:
            StoreError: always.
        """
        raise StoreError(f"{what} is for the teacher in a classroom")

    def check_new_saved_prompt(self) -> None:
        """Check that the visitor may save one more prompt.

        Raises:
            StoreError: if they have as many as a visitor may have.
        """
        if (count := len(list_saved_prompts(self.prompts_folder))) >= MAX_SAVED_PROMPTS:
            raise StoreError(
                f"expected at most {MAX_SAVED_PROMPTS} saved prompts of one visitor; you have {count}: delete one on "
                'the page Embeddings, under "Where this prompt came from"'
            )

    def check_own(self, id: str) -> None:
        """Check that a run is the visitor's own, so that they may change it.

        Raises:
            StoreError: if there is no such run for her, or it is another's.
        """
        path = self._existing_folder(str(id).partition(TARGET_MARK)[0])
        if not is_recorded(path) and read_annotations(path).owner != self.owner:
            raise StoreError(f"run {id} is not yours: it can be looked at, and not changed")

    def may_change(self, id: str) -> bool:
        """Return whether a run is the visitor's own."""
        with suppress(StoreError):
            self.check_own(id)
            return super().may_change(id)
        return False

    def rename(self, id: str, name: str) -> None:
        """Change the display name of an own run; see ``Store.rename``."""
        self.check_own(id)
        super().rename(id, name)

    def annotate(
        self,
        id: str,
        *,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        pinned: bool | None = None,
        shared: bool | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
    ) -> Annotations:
        """Change the tags, notes or pin of an own run; see ``Store.annotate``.

        Raises:
            StoreError: if it is another's, or to share it, which the teacher does.
        """
        self.check_own(id)
        if shared is not None:
            self.check_unrestricted("sharing a run")
        return super().annotate(id, tags=tags, notes=notes, pinned=pinned, add_tags=add_tags, remove_tags=remove_tags)

    def delete(self, id: str) -> None:
        """Delete an own run; see ``Store.delete``."""
        self.check_own(id)
        super().delete(id)

    def _existing_folder(self, id: str) -> Path:
        if not isinstance(id, str) or not RUN_ID_PATTERN.fullmatch(id):
            return super()._existing_folder(id)  # which refuses it
        path = Store.folder(self, id)
        if not path.is_dir() or not self._may_read(path):
            raise self._unknown(id)
        return path

    def _unknown(self, id: str) -> StoreError:
        """Return the error for a run that does not exist, which names none that the visitor may not see."""
        near = difflib.get_close_matches(id, [summary.id for summary in self.list()], 1)
        return StoreError(f"there is no run {id!r}.{f' Did you mean {near[0]}?' if near else ''}")

    def _may_read(self, folder: Path) -> bool:
        if is_recorded(folder):
            return True
        with suppress(StoreError):  # Damaged annotations do not give the owner of the run.
            return self._sees(read_annotations(folder))
        return False

    def _sees(self, annotations: Annotations) -> bool:
        return annotations.shared or annotations.owner == self.owner

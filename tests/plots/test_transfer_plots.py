"""The public figures of transfer: for none, one and several prompts, and words for what is wrong."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from ptviz import plots
from ptviz.experiments.transfer_results import TransferRun, from_scratch_key
from ptviz.figures.style import GREY
from ptviz.plots.alt_text import alt_of
from ptviz.plots.prompt_set import load_prompt_set, unused_names
from ptviz.runs import Store, StoreError, saved_prompts
from ptviz.runs.saved_prompts import SAVED_PREFIX


@pytest.fixture
def prompts() -> list[str]:
    torch.manual_seed(0)
    folder = Store().prompts_folder
    saved = [
        saved_prompts.save_prompt(folder, {"embeddings": torch.randn(m, 8)}, title, "", None, {})
        for m, title in ((3, "short"), (5, "long"), (3, "last"))
    ]
    return [SAVED_PREFIX + one.id for one in saved]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_number_of_prompts(prompts, count):
    some = prompts[:count]
    for figure in (
        plots.plot_prompt_similarity(some, metric="CKA", centred=True, exclude_outliers=True),
        plots.plot_prompt_projection(some),
        plots.plot_transfer(some),
        plots.plot_transfer_gain(some),
        plots.plot_transfer_curves(some, "trec6"),
        plots.plot_similarity_vs_transfer(some),
        plots.plot_transfer_correlations(some, metrics=("mean", "CKA")),
    ):
        assert len(alt_of(figure)) > 20


def test_training_from_a_prompt_never_looks_like_training_from_scratch(monkeypatch):
    folder, tensors = Store().prompts_folder, {"embeddings": torch.ones(3, 8)}
    saved = [saved_prompts.save_prompt(folder, tensors, f"p{i}", "tiny-encoder", None, {}).id for i in range(9)]
    ids = [SAVED_PREFIX + one for one in saved]
    starts = [from_scratch_key("tiny-encoder", 3), *(one.id for one in load_prompt_set(ids).sources)]
    trained = {
        start: TransferRun(start, "trec6", 200, 10, 0, (0, 10), (0.2, 0.1 + i / 20)) for i, start in enumerate(starts)
    }
    monkeypatch.setattr("ptviz.experiments.transfer_gain.measured_runs", lambda *_: trained)
    scratch, *others = [(one.line.color, one.line.dash) for one in plots.plot_transfer_curves(ids, "trec6").data]
    assert scratch == (GREY, "solid")
    assert GREY not in [colour for colour, _ in others]
    assert len(set(others)) == 9, "no two prompts look alike"


def test_names_and_the_prompts_of_a_checkpoint(prompts, tmp_path):
    path = tmp_path / "library.safetensors"
    save_file({"short": torch.randn(4, 8), "wide": torch.randn(4, 16)}, str(path))
    found = load_prompt_set(prompts[:1], checkpoint=str(path))
    assert list(found.vectors) == ["short", "short (opened)"], "another width cannot be compared"
    assert list(load_prompt_set(prompts[:1], ["a", "b"], str(path)).vectors) == ["a", "b"]
    assert unused_names(["a", "a"], ["a"]) == ["a (opened)", "a (opened) (opened)"]


def test_what_is_wrong_is_named(prompts):
    with pytest.raises(StoreError, match="saved prompt 'kept:none' not found"):
        plots.plot_prompt_similarity([f"{SAVED_PREFIX}none"])
    with pytest.raises(ValueError, match="names: expected 2 or more different names; got 1"):
        plots.plot_prompt_similarity(prompts[:2], names=["one"])
    with pytest.raises(ValueError, match="against: expected one of gain of the initialisation"):
        plots.plot_similarity_vs_transfer(prompts, against="luck")
    with pytest.raises(ValueError, match="title: expected one of 'Tuned from a source prompt"):
        plots.plot_published_transfer("none")
    with pytest.raises(StoreError, match="add the prompt of a run"):
        plots.plot_prompt_similarity(prompts, metric="neurons")

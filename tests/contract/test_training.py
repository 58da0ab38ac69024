"""The contract of every method on every kind of backbone: training, storing, loading, predicting."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ptviz.backbones import Backbone
from ptviz.methods import REGISTRY, PromptMethod, build_method
from ptviz.methods.source_prompt import SourcePrompt
from ptviz.training import Finished, StepCompleted, TrainConfig, train
from ptviz.training.events import Evaluated, StageStarted
from ptviz.training.stage_steps import count_stage_steps
from tests.families import SOURCES, TASK, backbone_of, case, method_of, rows_of

METHODS = list(REGISTRY)
FAMILIES = ["tiny-encoder", "pooled", "tiny-decoder", "gpt2", "tiny-encoder-decoder"]
EVERYWHERE = pytest.mark.parametrize(("name", "family"), [(name, family) for name in METHODS for family in FAMILIES])
# No weight decay: a parameter that moves, moves because the loss asked for it.
SHORT = TrainConfig(steps=4, batch=8, lr=0.05, evaluate_every=2, snapshot_every=2, weight_decay=0.0, source_steps=2)


def built(name: str, backbone: Backbone, seed: int = 0) -> PromptMethod:
    names = tuple(source.name for source in SOURCES) if REGISTRY[name].uses_source_tasks else ()
    return build_method(name, backbone.make_spec(64, TASK.label_words).with_source_tasks(names), seed=seed)


def taught(method: PromptMethod, backbone: Backbone) -> dict[str, Any]:
    """Return the inputs of a transfer method: source tasks, and a prompt of each as if trained."""
    if not method.uses_source_tasks:
        return {}
    draw = torch.Generator().manual_seed(0)
    prompts = [torch.randn(2, method.slots, backbone.width, generator=draw) for _ in SOURCES]
    known = {s.name: SourcePrompt(s.name, p[0], p[1], 0.5) for s, p in zip(SOURCES, prompts, strict=True)}
    return {"sources": SOURCES, "source_prompts": known if method.needs_source_prompts else {}}


@cache
def trained(name: str, family: str) -> PromptMethod:
    """Return a method after a few steps, with checks during training."""
    backbone = backbone_of(family)
    frozen = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    method = built(name, backbone)
    events = list(train(method, backbone, TASK, SHORT, **taught(method, backbone)))

    now = backbone.state_dict()
    changed = [key for key, tensor in frozen.items() if not torch.equal(tensor, now[key])]
    assert not changed, f"training changed the frozen backbone: {changed}"
    assert all(p.grad is None and not p.requires_grad for p in backbone.parameters())
    assert [event.name for event in events if isinstance(event, StageStarted)] == [s.name for s in method.stages()]
    assert sum(isinstance(event, StepCompleted) for event in events) == sum(count_stage_steps(method.stages(), SHORT))
    assert any(isinstance(event, Evaluated) for event in events)
    assert isinstance(events[-1], Finished)
    return method.eval()


@EVERYWHERE
def test_training_leaves_the_backbone_bit_identical_and_without_gradients(name: str, family: str) -> None:
    trained(name, family)


@EVERYWHERE
def test_every_parameter_moves_in_some_stage(name: str, family: str) -> None:
    backbone = backbone_of(family)
    method = built(name, backbone)
    start = {key: p.detach().clone() for key, p in method.named_parameters()}
    events = train(method, backbone, TASK, SHORT, **taught(method, backbone))
    moved: set[str] = set()
    for _ in events:  # looked at after every event: the end goes back to the best prompt, perhaps the first
        moved |= {key for key, p in method.named_parameters() if not torch.equal(p, start[key])}
    assert moved == set(start)


@EVERYWHERE
def test_a_state_dict_is_the_finished_method(name: str, family: str, tmp_path: Path) -> None:
    """There is no hidden mode flag: a loaded method predicts bit for bit the same."""
    method = trained(name, family)
    save_file({key: t.contiguous() for key, t in method.state_dict().items()}, tmp_path / "prompt.safetensors")
    again = built(name, backbone_of(family), seed=1).eval()
    again.load_state_dict(load_file(tmp_path / "prompt.safetensors"))
    backbone, batch, readout = case(family, method.slots)
    with torch.no_grad():
        ours, theirs = (backbone(batch, each(batch), readout).logits for each in (method, again))
    assert torch.equal(ours, theirs)


@EVERYWHERE
@torch.no_grad()
def test_evaluation_is_deterministic(name: str, family: str) -> None:
    method = method_of(name, backbone_of(family))
    backbone, batch, readout = case(family, method.slots)
    first, second = (backbone(batch, method(batch), readout).logits for _ in range(2))
    assert torch.equal(first, second)


@EVERYWHERE
@torch.no_grad()
def test_the_prompt_matters(name: str, family: str) -> None:
    method = method_of(name, backbone_of(family))
    backbone, batch, readout = case(family, method.slots)
    other = method_of(name, backbone, seed=7)
    assert (backbone(batch, method(batch), readout).nll - backbone(batch, other(batch), readout).nll).abs().max() > 1e-5


@EVERYWHERE
@torch.no_grad()
def test_static_prompts_ignore_the_batch(name: str, family: str) -> None:
    method = method_of(name, backbone_of(family))
    rows = rows_of(family, method.slots, 16)
    prompts = [method(rows.make_batch(part)) for part in (range(8), range(8, 16), [3, 3])]
    if not prompts[0].is_static:
        pytest.skip("a per-instance method: see the test of batch mates; static methods are tested here")
    for prompt in prompts:
        assert prompt.is_static
        for ours, first in ((prompt.embeddings, prompts[0].embeddings), (prompt.key_values, prompts[0].key_values)):
            assert (ours is None and first is None) or torch.equal(ours, first)


@EVERYWHERE
@torch.no_grad()
def test_a_row_does_not_depend_on_its_batch(name: str, family: str) -> None:
    """A row has the same scores alone and in a batch, whatever the other texts and the padding."""
    method = method_of(name, backbone_of(family))
    rows = rows_of(family, method.slots, 16)
    widths = {rows.make_batch(part).input_ids.shape[1] for part in ([0], [0, 1, 2, 3], range(16))}
    assert len(widths) > 1, "padding should differ between the batches"
    together = [0, 5, 2, 9, 4, 11, 6, 13]
    batch = rows.make_batch(together)
    scores = rows.backbone(batch, method(batch), rows.readout).logits
    for place, index in enumerate(together):
        one = rows.make_batch([index])
        alone = rows.backbone(one, method(one), rows.readout).logits[0]
        torch.testing.assert_close(scores[place], alone, atol=2e-5, rtol=2e-5)


@EVERYWHERE
def test_its_own_losses_are_scalars_of_the_graph(name: str, family: str) -> None:
    method = method_of(name, backbone_of(family)).train()
    backbone, batch, readout = case(family, method.slots)
    for stage in method.stages():
        run = partial(backbone, batch, readout=readout, hidden=stage.needs_hidden_states)
        loss, prompt, output = stage.objective(batch, run)
        assert loss.requires_grad
        assert loss.ndim == 0
        assert all(extra.ndim == 0 for extra in prompt.losses.values())
        torch.testing.assert_close(loss, output.loss + sum(prompt.losses.values()))

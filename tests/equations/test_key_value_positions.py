"""Where a text begins behind trained keys and values: at position m, as in P-Tuning v2's released code."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ptviz.backbones import Backbone
from ptviz.prompt import Batch, Prompt
from tests.families import rows_of, wrap_layers

M = 3


def keys_and_values(backbone: Backbone, ids: torch.Tensor) -> torch.Tensor:
    """Return the keys and values (1, 2, 1, H, m, h) of tokens at positions 0 to m - 1 in a model of one layer."""
    gathered: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    backbone.model.base_model(input_ids=ids, collect_kv=gathered)
    return torch.stack(gathered[0])[None]


@pytest.mark.parametrize("family", ["pooled", "bert", "roberta", "electra"])
def test_a_prefix_of_real_tokens_is_the_longer_text(family: str) -> None:
    """In one layer the keys and values of the first tokens do not depend on the rest: a prefix is a longer text."""
    backbone = wrap_layers(family, 1)
    rows = rows_of(backbone, 0)
    batch, readout = rows.make_batch(range(8)), rows.readout
    lead = batch.input_ids[:1, :M] * 0 + 11
    with torch.no_grad():
        prompt = Prompt(key_values=keys_and_values(backbone, lead))
        ours = backbone(batch, prompt, readout).logits
        ids = torch.cat([lead.expand(8, -1), batch.input_ids], 1)
        longer = Batch(
            ids, F.pad(batch.mask, (M, 0), value=True), F.pad(batch.slots, (M, 0)), F.pad(batch.readout_mask, (M, 0)),
            batch.labels, batch.task_ids, backbone.embed_tokens(ids),
        )  # fmt: skip
        expected = backbone(longer, Prompt(), readout).logits
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
        without = backbone(batch, Prompt(), readout).logits
    assert (ours - without).abs().max() > 1e-2


def test_too_long_with_a_prefix_is_refused() -> None:
    backbone = wrap_layers("bert", 1)
    batch = rows_of(backbone, 0).make_batch(range(2))
    longest = backbone.model.config.max_position_embeddings
    prefix = torch.zeros(1, 2, 1, backbone.heads, longest, backbone.head_width)
    with pytest.raises(ValueError, match="positions"):
        backbone(batch, Prompt(key_values=prefix), rows_of(backbone, 0).readout)

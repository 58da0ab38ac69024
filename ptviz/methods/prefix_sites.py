"""The attention sites that get a prefix of keys and values: all of them, or some layers only.

Source: Liu et al. 2022 (P-Tuning v2), section 4.3, which adds prompts to some layers only.
https://aclanthology.org/2022.acl-short.8
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ptviz.methods.hyperparameters import Hyperparameter

ALL = "all"
Layers = Annotated[
    str,
    Hyperparameter(
        "layers",
        "attention sites with a prefix: all, or numbers from 0 such as 3-5 or 0,2,4-5",
        pattern=r"all|\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*",
        added_later=True,
    ),
]


class PrefixSites(nn.Module):
    """The chosen sites of S. They are settings, not a state: nothing is stored."""

    chosen: Tensor

    def __init__(self, layers: str, sites: int) -> None:
        """Read ``layers``, such as ``0,2,4-5``.

        Raises:
            ValueError: for a site that the backbone does not have or that comes twice, or a range that runs backwards.
        """
        super().__init__()
        self.sites = sites
        self.register_buffer("chosen", torch.tensor(_parse(layers, sites), device="cpu"), persistent=False)

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def axis(self) -> str:
        """Return the name of the first axis of a tensor with one entry for each chosen site."""
        return "S" if len(self) == self.sites else "s"

    @property
    def marks(self) -> Bool[Tensor, " S"] | None:
        """Return which sites are chosen; None if all are."""
        if len(self) == self.sites:
            return None
        return torch.zeros(self.sites, dtype=torch.bool, device=self.chosen.device).index_fill(0, self.chosen, True)

    def spread(self, key_values: Float[Tensor, "s 2 #B H m h"]) -> Float[Tensor, "S 2 #B H m h"]:
        """Return keys and values of the chosen sites with zeros for the others, which see no prefix."""
        if len(self) == self.sites:
            return key_values
        whole = key_values.new_zeros(self.sites, *key_values.shape[1:])
        return whole.index_copy(0, self.chosen.to(whole.device), key_values)


def _parse(layers: str, sites: int) -> list[int]:
    if layers == ALL:
        return list(range(sites))
    found: list[int] = []
    for part in layers.split(","):
        first, _, last = part.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        if not numbers:
            raise ValueError(f"layers: expected a range that runs upwards, as in 3-5; got {part}")
        found += numbers
    if max(found) >= sites:
        raise ValueError(f"layers: this backbone has the attention sites 0 to {sites - 1}; got {max(found)}")
    if len(set(found)) < len(found):
        raise ValueError(f"layers: expected every site once; got {layers}")
    return sorted(found)

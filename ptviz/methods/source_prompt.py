"""Source prompts: the trained prompts of other tasks that transfer methods use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class SourcePrompt:
    """A prompt trained on a source task by plain prompt tuning.

    ``prompt`` is the best by validation, ``embedding`` the one after all its steps: SPoT's task embedding is a prompt
    after a fixed number of steps, not the best one (Vu et al., ACL 2022, section 3.2,
    https://aclanthology.org/2022.acl-long.346). ``path`` holds its values on the way, by number of steps.
    ``accuracy`` (0 to 1) is the validation accuracy on its own task; ``run`` the id of the run that trained it, empty
    without a store.
    """

    task: str
    prompt: Float[Tensor, "m d"]
    embedding: Float[Tensor, "m d"]
    accuracy: float
    run: str = ""
    path: Mapping[int, Float[Tensor, "m d"]] = field(default_factory=dict)

    def embedding_after(self, steps: int) -> Float[Tensor, "m d"]:
        """Return the prompt after the number of steps nearest to ``steps``; after all its steps without a path."""
        return self.path[min(self.path, key=lambda known: abs(known - steps))] if self.path else self.embedding

    def __post_init__(self) -> None:
        if self.prompt.shape != self.embedding.shape:
            raise ValueError(
                f"source prompt of {self.task}: expected prompt and embedding of one shape; "
                f"got {tuple(self.prompt.shape)} and {tuple(self.embedding.shape)}"
            )

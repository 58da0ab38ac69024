"""DePT's layout, from a fork of an old PEFT: a short prompt, and two factors whose product shifts the embeddings.

https://github.com/ZhengxiangShi/DePT. Its code scales A B by 8 / sqrt(r) at run time; the saved factors are not scaled.
"""

from __future__ import annotations

from ptviz.checkpoints.bundle import INPUT, Capability, NamedAxesArray, PromptBundle, list_capabilities
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats.named_tensors import StoredTensors, to_prompt_matrix


def detect(state: StoredTensors) -> bool:
    """Return whether the file has both factors."""
    return (
        state.tensor_ending_in("lora_embedding_A") is not None
        and state.tensor_ending_in("lora_embedding_B") is not None
    )


def read_dept(state: StoredTensors) -> PromptBundle:
    """Return the short prompt ``P_s`` (m, d), and the factors ``A`` (T, r) and ``B`` (r, d).

    Raises:
        CheckpointError: if a part is missing or the shapes disagree.
    """
    short, left, right = (
        state.tensor_ending_in(n) for n in ("prompt_embeddings", "lora_embedding_A", "lora_embedding_B")
    )
    if short is None or left is None or right is None:
        raise CheckpointError("expected prompt_embeddings, lora_embedding_A and lora_embedding_B of a DePT adapter")
    values = to_prompt_matrix("prompt_embeddings", short)
    width = values.array.shape[1]
    if left.ndim != 2 or right.shape != (left.shape[1], width):
        raise CheckpointError(
            f"expected factors (positions, r) and (r, {width}); got the shapes {left.shape} and {right.shape}"
        )
    tensors = {"P_s": values, "A": NamedAxesArray(left, ("T", "r")), "B": NamedAxesArray(right, ("r", "d"))}
    partly = Capability(
        "predict with it", False, "the short prompt is only a part: A and B shift the input's embeddings"
    )
    uses = tuple(partly if use.action == "predict with it" else use for use in list_capabilities(INPUT, width))
    note = "its code scales A B by 8 / sqrt(r) at run time; these factors are not scaled"
    return PromptBundle(state.name, "DePT", INPUT, tensors, state.description(), (note,), uses)

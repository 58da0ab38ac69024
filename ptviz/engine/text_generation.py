"""Texts written by a frozen backbone, with a trained prompt and without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ptviz.backbones import Backbone
from ptviz.backbones.generation import GenerationSettings, generate
from ptviz.engine.loaded_prompt import make_static_method
from ptviz.engine.model_cache import ModelCache
from ptviz.methods.base import PromptMethod
from ptviz.prompt import Prompt
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.import_prompt import importable_prompts, select_prompt_name
from ptviz.runs.saved_prompts import to_prompt
from ptviz.tasks.collate import collate
from ptviz.tasks.template import Template

if TYPE_CHECKING:
    from ptviz.checkpoints import PromptBundle

MAX_POSITIONS = 2048
"""Input and output positions in one batch; more texts are written in several batches."""
DEFAULT_LENGTH = 512
"""Tokens of an input that are read, at most."""


def input_template(backbone: Backbone, pattern: str = "") -> Template:
    """Return how an input is laid out: ``pattern``, or prompt and text as a plain PEFT script has them.

    PEFT puts its virtual tokens ahead of everything that the tokeniser writes, the special tokens included.

    Raises:
        ValueError: for a pattern without ``{text}``, or with a field that does not exist.
    """
    if not pattern:
        ids = list(backbone.tokeniser("a")["input_ids"])
        own = {getattr(backbone.tokeniser, f"{name}_token_id", None): name for name in ("eos", "sep", "bos", "cls")}
        first, last = (f"{{{own[one]}}}" if one in own and one is not None else "" for one in (ids[0], ids[-1]))
        pattern = f"{{prompt}}{first}{{text}}{last}"
    return Template(pattern, "last" if backbone.family == "decoder" else "first")


@torch.no_grad()
def generate_texts(
    method: PromptMethod | None,
    backbone: Backbone,
    texts: Sequence[str],
    settings: GenerationSettings | None = None,
    *,
    template: Template | None = None,
    length: int = DEFAULT_LENGTH,
    on_token: Callable[[str], None] | None = None,
) -> list[str]:
    """Return what the backbone writes after each text under a method's prompt; without one if ``method`` is None.

    ``length`` is the number of input tokens that are read. ``on_token`` gets the text so far whenever a token is
    chosen; it needs a single text and no beams.

    Raises:
        BackboneError: if the backbone is an encoder, or the prompt does not fit it.
        ValueError: if a text is empty.
    """
    for index, text in enumerate(texts):
        if not text.strip():
            raise ValueError(f"text {index + 1} of {len(texts)}: expected some words, got none")
    settings, template = settings or GenerationSettings(), template or input_template(backbone)
    slots = 0 if method is None else method.slots
    rows = template.encode_all(texts, backbone.tokeniser, slots, length, [0] * len(texts))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].ids))
    written = [""] * len(rows)
    seen: list[int] = []

    def decode(ids: list[int]) -> str:
        return str(backbone.tokeniser.decode(ids, skip_special_tokens=True)).strip()

    def stream(token: int) -> None:
        seen.append(token)
        if on_token is not None:
            on_token(decode(seen))

    while order:
        width = len(rows[order[-1]].ids) + settings.max_new_tokens
        size = max(1, MAX_POSITIONS // (width * settings.beams))
        order, chosen = order[:-size], order[-size:]
        batch = collate([rows[i] for i in chosen], backbone.pad_id, backbone.embed_tokens, device=backbone.device)
        prompt = Prompt() if method is None else method(batch)
        found = generate(backbone, batch, prompt, settings, stream if on_token else None)
        for index, ids in zip(chosen, found, strict=True):
            written[index] = decode(ids)
    return written


def load_checkpoint_method(
    bundle: PromptBundle, backbone_name: str, model_cache: ModelCache, which: str | None = None
) -> tuple[PromptMethod, Backbone]:
    """Return a checkpoint's prompt as a static method, and the backbone that the caller names for it.

    Raises:
        StoreError: if the checkpoint has no such prompt, or it does not fit the backbone.
    """
    if not backbone_name:
        raise StoreError("expected the backbone that this prompt was trained for; name it, as in --backbone FOLDER")
    backbone = model_cache.backbone(RunConfig(backbone_name))
    which = select_prompt_name(bundle, which, backbone_name)
    tensors = importable_prompts(bundle, backbone_name)[which]
    return make_static_method(to_prompt(tensors), backbone), backbone


def read_inputs(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty.

    Raises:
        StoreError: if the file is no UTF-8 text, or has no such line.
        OSError: if it cannot be read.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: expected UTF-8 text; byte {error.start} is not") from error
    if not lines:
        raise StoreError(f"{path}: expected at least one line with a text; got none")
    return lines

"""Text generation by a frozen backbone, with a trained prompt and without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ptviz.backbones import Backbone
from ptviz.backbones.generation import GenerationSettings, generate
from ptviz.engine.loaded_prompt import LoadedPrompt, load_run_prompt, load_saved_method, make_static_method
from ptviz.engine.model_cache import ModelCache
from ptviz.methods.base import PromptMethod
from ptviz.prompt import Prompt
from ptviz.runs.config import RunConfig
from ptviz.runs.import_prompt import importable_prompts, select_prompt_name
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.saved_prompts import SAVED_PREFIX, to_prompt
from ptviz.runs.store import Store
from ptviz.tasks import Task
from ptviz.tasks.collate import collate
from ptviz.tasks.template import Template, end_token
from ptviz.training.batches import EncodedExamples
from ptviz.training.evaluation import refuse_empty_texts
from ptviz.training.task_outputs import generate_outputs, longest_target

if TYPE_CHECKING:
    from ptviz.checkpoints import PromptBundle

MAX_POSITIONS = 2048
"""Input and output positions in one batch; more texts are generated in several batches."""
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
    refuse_empty_texts(texts)
    settings, template = settings or GenerationSettings(), template or input_template(backbone)
    if template.chat:
        settings = replace(settings, stop=end_token(backbone.tokeniser, template.readout_mode, (), chat=True)[0])
    slots = 0 if method is None else method.slots
    rows = template.encode_all(texts, backbone.tokeniser, slots, length, [0] * len(texts))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].ids))
    generated = [""] * len(rows)
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
        found = generate(backbone, batch, prompt, settings.for_batch(len(order)), stream if on_token else None)
        for index, ids in zip(chosen, found, strict=True):
            generated[index] = decode(ids)
    return generated


@dataclass(frozen=True)
class TextGenerator:
    """A prompt that generates text: its method and backbone, and how inputs of up to ``length`` tokens are laid out.

    ``position`` holds "stage" and "step" of a run's snapshot; it is empty for other prompts. A text-to-text ``task``
    ends the texts as its targets end.
    """

    method: PromptMethod
    backbone: Backbone
    template: Template
    position: dict[str, int]
    length: int = DEFAULT_LENGTH
    task: Task | None = None

    def make_settings(self, **chosen: Any) -> GenerationSettings:
        """Return settings for this prompt; the longest target of its task limits a text if nothing else does.

        Raises:
            ValueError: for a bad setting.
        """
        if self.task is not None and chosen.get("max_new_tokens") is None:
            first = EncodedExamples(self.backbone, self.task, self.task.train[:1], 0, self.length)
            chosen["max_new_tokens"] = longest_target(first)
        return GenerationSettings(**{name: value for name, value in chosen.items() if value is not None})

    def generate(
        self, texts: Sequence[str], settings: GenerationSettings, on_text: Callable[[str, str], None] | None = None
    ) -> dict[str, Any]:
        """Return what is generated with the prompt and without it, as ``{"with": [n], "without": [n], ...}``.

        ``on_text`` gets "with" or "without" and the text so far whenever a token is chosen; it needs a single text.

        Raises:
            ValueError: if a text is empty, or has not one part for each field of the task.
        """
        generated = {
            name: self._generate(method, texts, settings, None if on_text is None else partial(on_text, name))
            for name, method in (("with", self.method), ("without", None))
        }
        return {
            "texts": [*texts],
            **generated,
            "backbone": self.backbone.name,
            "template": self.template.pattern,
            **self.position,
        }

    def _generate(
        self,
        method: PromptMethod | None,
        texts: Sequence[str],
        settings: GenerationSettings,
        on_text: Callable[[str], None] | None,
    ) -> list[str]:
        if self.task is None:
            return generate_texts(
                method,
                self.backbone,
                texts,
                settings,
                template=self.template,
                length=self.length,
                on_token=on_text,
            )
        refuse_empty_texts(texts)
        examples = [self.task.split_text(text) for text in texts]
        slots = 0 if method is None else method.slots
        rows = EncodedExamples(self.backbone, self.task, examples, slots, self.length)
        return generate_outputs(method, rows, settings, on_text)


def make_text_generator(loaded: LoadedPrompt, pattern: str = "") -> TextGenerator:
    """Return the text generator of a run's prompt, with its task's template unless there is a ``pattern``.

    Raises:
        ValueError: for a bad ``pattern``, or a template of several texts, of a task that writes none.
    """
    if pattern:
        return TextGenerator(loaded.method, loaded.backbone, input_template(loaded.backbone, pattern), loaded.position)
    task = loaded.subsampled_task()  # whose targets say where texts end and how long they are
    template = task.make_template(loaded.backbone.readout_mode)
    if task.kind != "text":
        if len(task.fields) > 1:
            raise ValueError(
                f"{task.title} has {len(task.fields)} texts an input and no texts to write; lay one text out, as in "
                "--template '{prompt}{text}'"
            )
        return TextGenerator(loaded.method, loaded.backbone, template, loaded.position)
    length = loaded.config.training.length
    return TextGenerator(loaded.method, loaded.backbone, template, loaded.position, length, task)


def load_text_generator(
    store: Store,
    model_cache: ModelCache,
    id: str,
    stage: int | None = None,
    step: int | None = None,
    pattern: str = "",
) -> TextGenerator:
    """Load a run's prompt with the template of its task, or a saved prompt (``SAVED_PREFIX`` and its id) with PEFT's.

    Raises:
        StoreError: if there is no such prompt, or it does not fit its backbone.
        ValueError: for a bad ``pattern``.
    """
    if id.startswith(SAVED_PREFIX):
        method, backbone, _ = load_saved_method(store, model_cache, id.removeprefix(SAVED_PREFIX))
        return TextGenerator(method, backbone, input_template(backbone, pattern), {})
    return make_text_generator(load_run_prompt(store.get(id), model_cache, stage, step), pattern)


def load_checkpoint_text_generator(
    bundle: PromptBundle, backbone_name: str, model_cache: ModelCache, which: str | None = None, pattern: str = ""
) -> TextGenerator:
    """Return the text generator of a checkpoint's prompt in front of the backbone that the caller names for it.

    Raises:
        StoreError: if no backbone is named, the checkpoint has no such prompt, or it does not fit the backbone.
        ValueError: for a bad ``pattern``.
    """
    if not backbone_name:
        raise StoreError("expected the backbone that this prompt was trained for; name it, as in --backbone FOLDER")
    backbone = model_cache.backbone(RunConfig(backbone_name))
    which = select_prompt_name(bundle, which, backbone_name)
    tensors = importable_prompts(bundle, backbone_name)[which]
    return TextGenerator(
        make_static_method(to_prompt(tensors), backbone), backbone, input_template(backbone, pattern), {}
    )


def read_inputs(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty.

    Raises:
        StoreError: if the file is no UTF-8 text, or has no such line.
        OSError: if it cannot be read.
    """
    try:
        # splitlines() would cut texts at U+2028 and other separators within them, too.
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: expected UTF-8 text; byte {error.start} is not") from error
    if not lines:
        raise StoreError(f"{path}: expected at least one line with a text; got none")
    return lines

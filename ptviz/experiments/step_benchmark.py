"""How fast a training step is, against PEFT's on the same weights, rows, loss and gradient.

One process; the two sides take turns batch by batch, and each batch's time is the median over the passes, so that a
noisy machine disturbs both alike. Random weights in the shapes of real models: speed does not depend on the values.
The rows are of mixed length. PEFT gets them in random order with dynamic padding, as its examples do; our side gets
them as ptviz trains, bucketed by length. Before anything is timed, both sides must give the same loss and gradient on
one batch, to 1e-5.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from ptviz.backbones import Backbone, Readout, wrap_model
from ptviz.backbones.tiny import make_tiny_tokeniser
from ptviz.prompt import Batch, Prompt
from ptviz.tasks.collate import schedule_batches

Family = Literal["encoder", "decoder", "encoder-decoder"]
FAMILIES: tuple[Family, ...] = ("encoder", "decoder", "encoder-decoder")
CLASS_COUNT = 6


@dataclass(frozen=True)
class StepBenchmarkResult:
    """One measurement.

    Examples a second of both sides and their ratio; peak memory above the weights, in MB; the time of the bare matrix
    products of our positions as a share of our time; text tokens a second of ours.
    """

    family: str
    m: int
    dtype: str
    ratio: float
    ours_examples_per_second: float
    peft_examples_per_second: float
    ours_tokens_per_second: float
    ours_peak_mb: float
    peft_peak_mb: float
    ceiling_share: float
    loss_difference: float
    gradient_difference: float


@dataclass(frozen=True)
class TokenisedExample:
    """A row of token ids and its label (a class, or a token id for the families with a vocabulary to answer from)."""

    ids: list[int]
    label: int


TrainingStep = Callable[[Sequence[TokenisedExample]], tuple[float, Tensor]]


def make_model(family: Family) -> PreTrainedModel:
    """A random model in the shape of all-MiniLM-L6-v2, SmolLM2-135M or T5-small."""
    torch.manual_seed(0)
    if family == "encoder":
        shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
        return BertModel(BertConfig(vocab_size=30522, **shape), add_pooling_layer=False).eval()
    if family == "decoder":
        shape = {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "intermediate_size": 1536}
        return LlamaForCausalLM(
            LlamaConfig(vocab_size=49152, num_key_value_heads=3, tie_word_embeddings=True, **shape)
        ).eval()
    return T5ForConditionalGeneration(T5Config(decoder_start_token_id=0)).eval()


def make_examples(count: int, family: Family, seed: int = 0) -> list[TokenisedExample]:
    """Rows of mixed length: log-normal around 14 tokens, 5 to 64, like the texts of the built-in tasks."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.exp(torch.randn(count, generator=draw) * 0.6 + 2.64).round().long().clamp(5, 64)
    labels = torch.randint(CLASS_COUNT if family == "encoder" else 20000, (count,), generator=draw)
    return [
        TokenisedExample(torch.randint(1000, 20000, (int(n),), generator=draw).tolist(), int(label))
        for n, label in zip(lengths, labels, strict=True)
    ]


def pad_examples(rows: Sequence[TokenisedExample], lead: int = 0) -> tuple[Tensor, Tensor]:
    """Ids and mask of rows, padded on the right to the longest, after ``lead`` empty columns."""
    width = lead + max(len(row.ids) for row in rows)
    ids = torch.tensor([[0] * lead + row.ids + [0] * (width - lead - len(row.ids)) for row in rows])
    lengths = torch.tensor([lead + len(row.ids) for row in rows])
    return ids, torch.arange(width)[None] < lengths[:, None]


def make_ptviz_step(
    family: Family, model: PreTrainedModel, start: Tensor, dtype: torch.dtype
) -> tuple[TrainingStep, Backbone]:
    """A training step of ptviz: loss and gradient of the prompt."""
    backbone = wrap_model("bench", "bench", model, make_tiny_tokeniser(), random=True).to(dtype)
    if family == "encoder":
        backbone.sequential_positions = True  # type: ignore[assignment]
        readout = Readout(_random_prototypes(model.config.hidden_size), None, 20.0, True, ("",) * CLASS_COUNT)
    else:
        head = model.get_output_embeddings()
        scale = model.config.d_model**-0.5 if getattr(model.config, "scale_decoder_outputs", False) else 1.0
        readout = Readout(head.weight.detach().float(), None, scale, False, ())
    P = nn.Parameter(start.clone())
    m = len(start)

    def step(rows: Sequence[TokenisedExample]) -> tuple[float, Tensor]:
        P.grad = None
        ids, mask = pad_examples(rows, m)
        slots = torch.zeros_like(mask)
        slots[:, :m] = True
        text = mask & ~slots
        last = F.one_hot(mask.sum(1) - 1, mask.shape[1]).bool()
        read = text if family == "encoder" else last
        labels = torch.tensor([row.label for row in rows])
        batch = Batch(ids, mask, slots, read, labels, torch.zeros_like(labels), backbone.embed_tokens(ids))
        loss = backbone(batch, Prompt(embeddings=P[None]), readout).loss
        loss.backward()
        gradient: Tensor | None = P.grad
        assert gradient is not None
        return loss.item(), gradient

    return step, backbone


def make_peft_step(family: Family, model: PreTrainedModel, start: Tensor) -> TrainingStep:
    """A training step of PEFT's prompt tuning on the same weights: its own layout, padding and loss."""
    from peft import PromptTuningConfig, get_peft_model

    kind = {"encoder": "FEATURE_EXTRACTION", "decoder": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM"}[family]
    config = PromptTuningConfig(task_type=kind, num_virtual_tokens=len(start), num_transformer_submodules=1)
    peft: Any = get_peft_model(model, config).eval()
    prompt = peft.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        prompt.copy_(start)
    prototypes = _random_prototypes(start.shape[1])

    def step(rows: Sequence[TokenisedExample]) -> tuple[float, Tensor]:
        prompt.grad = None
        labels = torch.tensor([row.label for row in rows])
        if family == "decoder":
            answered = [TokenisedExample([*row.ids, row.label], row.label) for row in rows]
            ids, mask = pad_examples(answered)
            targets = torch.where(F.one_hot(mask.sum(1) - 1, mask.shape[1]).bool(), ids, -100)
            loss = peft(input_ids=ids, attention_mask=mask.long(), labels=targets).loss
        elif family == "encoder-decoder":
            ids, mask = pad_examples(rows)
            loss = peft(input_ids=ids, attention_mask=mask.long(), labels=labels[:, None]).loss
        else:
            ids, mask = pad_examples(rows)
            state = peft(input_ids=ids, attention_mask=mask.long()).last_hidden_state[:, len(start) :]
            weight = mask[..., None].float()
            pooled = F.normalize((state * weight).sum(1) / weight.sum(1), dim=-1)
            loss = F.cross_entropy(20.0 * pooled @ prototypes.T, labels)
        loss.backward()
        return loss.item(), prompt.grad

    return step


def _random_prototypes(width: int) -> Tensor:
    return F.normalize(torch.randn(CLASS_COUNT, width, generator=torch.Generator().manual_seed(1)), dim=-1)


def time_matrix_products(backbone: Backbone, positions: int) -> float:
    """Seconds that the bare matrix products of one step take: every linear layer forward, and back to its input."""
    named = backbone.model.base_model.named_modules()
    # Of an encoder-decoder's decoder, only the keys and values of cross-attention run over all positions.
    wide = ("EncDecAttention.k", "EncDecAttention.v")
    layers = [
        x
        for name, x in named
        if isinstance(x, nn.Linear) and name != "lm_head" and ("decoder." not in name or name.endswith(wide))
    ]
    inputs = {layer.in_features: torch.randn(positions, layer.in_features).to(layer.weight.dtype) for layer in layers}
    grads = {layer.out_features: torch.randn(positions, layer.out_features).to(layer.weight.dtype) for layer in layers}
    with torch.no_grad():
        began = time.perf_counter()
        for layer in layers:
            F.linear(inputs[layer.in_features], layer.weight, layer.bias)
        for layer in layers:
            grads[layer.out_features] @ layer.weight
        return time.perf_counter() - began


def measure_peak_mb(work: Callable[[], object]) -> float:
    """Largest growth of this process's memory while ``work`` runs, in MB."""
    gc.collect()
    with suppress(AttributeError):  # not every C library can
        psutil.heap_trim()
    process, peak, done = psutil.Process(), 0, threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.002)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    work()
    done.set()
    thread.join()
    return max(0.0, (max(peak, process.memory_info().rss) - before) / 2**20)


def time_step(step: TrainingStep, rows: Sequence[TokenisedExample]) -> float:
    """Seconds of one step."""
    began = time.perf_counter()
    step(rows)
    return time.perf_counter() - began


def run_step_benchmark(
    families: Sequence[Family] = FAMILIES,
    lengths: Sequence[int] = (20, 100),
    dtypes: Sequence[str] = ("float32", "bfloat16"),
    *,
    count: int = 512,
    batch: int = 16,
    passes: int = 3,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> list[StepBenchmarkResult]:
    """Measure every combination; about 20 minutes on two cores with the defaults.

    Raises:
        AssertionError: if the two sides do not compute the same loss and gradient (1e-5, float32).
    """
    rows = []
    cells = [(family, m) for family in families for m in lengths]
    for done, (family, m) in enumerate(cells):
        what = f"{family}, m={m}"
        progress(what, done / len(cells))

        def tell(share: float, what: str = what, done: int = done) -> None:
            progress(what, (done + share) / len(cells))

        rows += _measure_setting(family, m, dtypes, count, batch, passes, tell)
    progress("done", 1.0)
    return rows


def _measure_setting(
    family: Family,
    m: int,
    dtypes: Sequence[str],
    count: int,
    batch: int,
    passes: int,
    progress: Callable[[float], None],
) -> list[StepBenchmarkResult]:
    data = make_examples(count, family)
    width = make_model(family).get_input_embeddings().weight.shape[1]
    start = 0.5 * torch.randn(m, width, generator=torch.Generator().manual_seed(2))
    theirs = make_peft_step(family, make_model(family), start)
    sides = {dtype: make_ptviz_step(family, make_model(family), start, getattr(torch, dtype)) for dtype in dtypes}
    exact, _ = make_ptviz_step(family, make_model(family), start, torch.float32)
    (loss, gradient), (same, match) = theirs(data[:batch]), exact(data[:batch])
    apart = abs(loss - same), float((gradient - match).norm() / gradient.norm())
    agree = apart[0] < 1e-5 * max(1, abs(loss)) and apart[1] < 1e-5
    assert agree, f"{family}, m={m}: loss and gradient differ from PEFT's by {apart}"

    random = torch.randperm(count, generator=torch.Generator().manual_seed(3)).tolist()
    peft_batches = [[data[i] for i in random[at : at + batch]] for at in range(0, count, batch)]
    our_batches = [[data[i] for i in part] for part in schedule_batches([len(row.ids) for row in data], batch, 0, 0)]
    names = ["peft", *dtypes]
    steps: dict[str, TrainingStep] = {"peft": theirs, **{dtype: side[0] for dtype, side in sides.items()}}
    batches = {name: peft_batches if name == "peft" else our_batches for name in names}
    longest = {name: max(batches[name], key=lambda rows: max(len(row.ids) for row in rows)) for name in names}
    peaks = {name: measure_peak_mb(partial(steps[name], longest[name])) for name in names}
    times: dict[str, list[list[float]]] = {name: [[] for _ in batches[name]] for name in names}
    bare: dict[str, list[float]] = {dtype: [] for dtype in dtypes}
    rounds = passes * len(our_batches)
    for turn in range(rounds):
        at = turn % len(our_batches)
        for name in names:
            times[name][at].append(time_step(steps[name], batches[name][at]))
        if turn % 4 == 0:
            for dtype in dtypes:
                bare[dtype].append(_time_ceiling(family, sides[dtype][1], m, our_batches))
        progress((turn + 1) / rounds)
    seconds = {name: sum(statistics.median(each) for each in times[name]) for name in names}
    tokens = sum(len(row.ids) for row in data)
    return [
        StepBenchmarkResult(
            family, m, dtype, seconds["peft"] / seconds[dtype],
            count / seconds[dtype], count / seconds["peft"], tokens / seconds[dtype],
            peaks[dtype], peaks["peft"], statistics.median(bare[dtype]) * len(our_batches) / seconds[dtype], *apart,
        )
        for dtype in dtypes
    ]  # fmt: skip


def _time_ceiling(family: Family, backbone: Backbone, m: int, batches: Sequence[Sequence[TokenisedExample]]) -> float:
    sizes = [len(rows) * max(len(row.ids) for row in rows) for rows in batches]
    prompt = m if family == "decoder" else m * len(batches[0])
    return time_matrix_products(backbone, round(statistics.mean(sizes)) + prompt)


@dataclass(frozen=True)
class EditTiming:
    """One edit of prompt surgery on a warm worker: medians of its seconds by the clock and of the processor's."""

    m: int
    rows: int
    seconds: float
    cpu_seconds: float


def time_prompt_edit(m: int = 20, passes: int = 3, backbone: str = "minilm-l6", task: str = "trec6") -> EditTiming:
    """Take one token after another out of a prompt, and measure each time what it is worth on validation rows."""
    from ptviz.engine.loaded_prompt import LoadedPrompt
    from ptviz.engine.model_cache import ModelCache
    from ptviz.probes.edits import Ablate, EditContext
    from ptviz.probes.prompt_editing import MAX_ROWS, EditEvaluator
    from ptviz.runs.config import RunConfig

    config, warm = RunConfig(backbone, task, hyperparameters={"m": m}).checked(), ModelCache()
    frozen, rows = warm.backbone(config), warm.task(config)
    at = LoadedPrompt(config, frozen, rows, warm.backend.build_method(config, frozen, rows).eval(), {})
    spent = []
    with torch.no_grad():
        trial = EditEvaluator(at, MAX_ROWS, EditContext(frozen.embedding_table, lambda of, id: {}))
        trial.score()
        for token in range(min(m, passes)):
            began = time.perf_counter(), time.process_time()
            trial.score((Ablate((token,)),))
            spent.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    clock, processor = (statistics.median(each) for each in zip(*spent, strict=True))
    return EditTiming(m, len(trial.examples), clock, processor)

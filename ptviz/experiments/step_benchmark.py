"""Speed of a training step against PEFT's, on the same weights, examples, loss and gradient.

Both sides run in one process and alternate batch by batch; the time of a batch is the median over the passes, so that
other load on the machine affects both alike. The weights are random in the shapes of real models: speed does not depend
on them. Examples have mixed lengths. PEFT gets them in random order with dynamic padding, as in its examples; ptviz
buckets them by length, as in training. Before the timing, both sides must give the same loss and gradient on one batch,
to 1e-5.
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

    Examples per second of both sides and their ratio; peak memory above the weights, in MB; the time of the bare matrix
    products of ptviz's positions as a share of its time; text tokens per second of ptviz.
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
    """Token ids and a label: a class, or a token id for families that predict from the vocabulary."""

    ids: list[int]
    label: int


TrainingStep = Callable[[Sequence[TokenisedExample]], tuple[float, Tensor]]


def make_model(family: Family) -> PreTrainedModel:
    """Return a random model in the shape of all-MiniLM-L6-v2, SmolLM2-135M or T5-small."""
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
    """Return examples of 5 to 64 tokens, log-normal around 14, like the texts of the built-in tasks."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.exp(torch.randn(count, generator=draw) * 0.6 + 2.64).round().long().clamp(5, 64)
    labels = torch.randint(CLASS_COUNT if family == "encoder" else 20000, (count,), generator=draw)
    return [
        TokenisedExample(torch.randint(1000, 20000, (int(n),), generator=draw).tolist(), int(label))
        for n, label in zip(lengths, labels, strict=True)
    ]


def pad_examples(rows: Sequence[TokenisedExample], lead: int = 0) -> tuple[Tensor, Tensor]:
    """Return ids and mask, padded on the right to the longest, after ``lead`` empty columns."""
    width = lead + max(len(row.ids) for row in rows)
    ids = torch.tensor([[0] * lead + row.ids + [0] * (width - lead - len(row.ids)) for row in rows])
    lengths = torch.tensor([lead + len(row.ids) for row in rows])
    return ids, torch.arange(width)[None] < lengths[:, None]


def make_ptviz_step(
    family: Family, model: PreTrainedModel, start: Tensor, dtype: torch.dtype
) -> tuple[TrainingStep, Backbone]:
    """Return ptviz's training step (loss and gradient of the prompt) and its backbone."""
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
    """Return the training step of PEFT's prompt tuning on the same weights, with its own layout, padding and loss."""
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
    """Measure the bare matrix products of one step, in seconds: every linear layer forward and backward."""
    named = backbone.model.base_model.named_modules()
    # Of an encoder-decoder's decoder, only the keys and values of cross-attention run over all positions.
    wide = ("EncDecAttention.k", "EncDecAttention.v")
    linear = {name: x for name, x in named if isinstance(x, nn.Linear) and name != "lm_head"}
    layers = [x for name, x in linear.items() if "decoder." not in name or name.endswith(wide)]
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
    """Measure the largest growth of this process's memory while ``work`` runs, in MB."""
    gc.collect()
    with suppress(AttributeError):  # Not every C library can return freed memory.
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
    """Measure one step, in seconds."""
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

        def report(share: float, what: str = what, done: int = done) -> None:
            progress(what, (done + share) / len(cells))

        rows += _measure_setting(family, m, dtypes, count, batch, passes, report)
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
    difference = abs(loss - same), float((gradient - match).norm() / gradient.norm())
    agree = difference[0] < 1e-5 * max(1, abs(loss)) and difference[1] < 1e-5
    assert agree, f"{family}, m={m}: loss and gradient differ from PEFT's by {difference}"

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
            peaks[dtype], peaks["peft"], statistics.median(bare[dtype]) * len(our_batches) / seconds[dtype],
            *difference,
        )
        for dtype in dtypes
    ]  # fmt: skip


def _time_ceiling(family: Family, backbone: Backbone, m: int, batches: Sequence[Sequence[TokenisedExample]]) -> float:
    sizes = [len(rows) * max(len(row.ids) for row in rows) for rows in batches]
    prompt = m if family == "decoder" else m * len(batches[0])
    return time_matrix_products(backbone, round(statistics.mean(sizes)) + prompt)


@dataclass(frozen=True)
class EditTiming:
    """One prompt edit with a loaded model: medians of wall-clock and processor seconds."""

    m: int
    rows: int
    seconds: float
    cpu_seconds: float


def time_prompt_edit(m: int = 20, passes: int = 3, backbone: str = "minilm-l6", task: str = "trec6") -> EditTiming:
    """Measure the ablation of one prompt token after another on validation examples."""
    from ptviz.engine.loaded_prompt import LoadedPrompt
    from ptviz.engine.model_cache import ModelCache
    from ptviz.probes.edits import Ablate, EditContext
    from ptviz.probes.prompt_editing import MAX_ROWS, EditEvaluator
    from ptviz.runs.config import RunConfig

    config, model_cache = RunConfig(backbone, task, hyperparameters={"m": m}).checked(), ModelCache()
    frozen, loaded_task = model_cache.backbone(config), model_cache.task(config)
    method = model_cache.backend.build_method(config, frozen, loaded_task).eval()
    loaded = LoadedPrompt(config, frozen, loaded_task, method, {})
    times = []
    with torch.no_grad():
        evaluator = EditEvaluator(loaded, MAX_ROWS, EditContext(frozen.embedding_table, lambda of, id: {}))
        evaluator.score()
        for token in range(min(m, passes)):
            began = time.perf_counter(), time.process_time()
            evaluator.score((Ablate((token,)),))
            times.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    clock, processor = (statistics.median(each) for each in zip(*times, strict=True))
    return EditTiming(m, len(evaluator.examples), clock, processor)

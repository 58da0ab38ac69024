"""From a name to a frozen backbone: packaged, tiny, of another package, a local folder, or a Hub id."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from ptviz.backbone_shape import BackboneShape
from ptviz.backbones import packaged, tiny
from ptviz.backbones.base import Backbone, ReadoutMode, find_attention_sites
from ptviz.backbones.decoder import DecoderBackbone
from ptviz.backbones.encoder import MaskedEncoder, PooledEncoder
from ptviz.backbones.encoder_decoder import EncoderDecoderBackbone
from ptviz.backbones.errors import BackboneError
from ptviz.backbones.families import REFUSED_FAMILIES, describe_families
from ptviz.backbones.faster_dtype import choose_dtype
from ptviz.backbones.listing import DEFAULT_BACKBONE, TITLES, external_backbones
from ptviz.backbones.patched_attention import select_attention
from ptviz.backbones.self_check import check_own_scores, record_own_scores
from ptviz.paths import expand_user
from ptviz.safe_text import safe_text

HUB_IDS = {"minilm-l6": packaged.MINILM["hub"]} | {one.name: one.hub for one in packaged.FETCHED_BACKBONES.values()}
_BACKBONE_CLASSES: dict[Any, type[Backbone]] = {
    AutoModel: PooledEncoder,
    AutoModelForMaskedLM: MaskedEncoder,
    AutoModelForCausalLM: DecoderBackbone,
    AutoModelForSeq2SeqLM: EncoderDecoderBackbone,
}
_TINY_READOUTS: dict[str, type[Backbone]] = {
    "tiny-encoder": MaskedEncoder,
    "tiny-decoder": DecoderBackbone,
    "tiny-encoder-decoder": EncoderDecoderBackbone,
}


def select_device(device: str | None = None) -> torch.device:
    """Return the requested device, or the best available: CUDA, then MPS, then the CPU.

    Raises:
        BackboneError: if the requested device is not on this machine.
    """
    kinds = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [kind for kind, is_available in kinds.items() if is_available]
    if not device or device == "auto":
        return torch.device(available[0])
    if device.split(":")[0] not in available:
        raise BackboneError(f"device {device!r} is not on this machine; expected auto or one of {', '.join(available)}")
    return torch.device(device)


def load_backbone(name: str = DEFAULT_BACKBONE, device: str | None = None, dtype: str = "float32") -> Backbone:
    """Load a frozen backbone that takes prompts.

    ``name`` is ``minilm-l6``, ``smollm2-135m``, ``gemma3-270m``, ``tiny-encoder``, ``tiny-decoder``,
    ``tiny-encoder-decoder``, a local folder in transformers' layout, or a Hub id. ``dtype`` is the type of the frozen
    weights, ``float32``, ``bfloat16``, or ``auto``: the faster here, measured once; prompts are always float32. Code
    that comes with a model is never run: weights are read from safetensors, else from ``pytorch_model.bin`` by torch's
    restricted unpickler: it makes tensors only.

    Raises:
        BackboneError: naming what is missing or unsupported, and the command that installs it.
    """
    target = select_device(device)
    if dtype not in ("float32", "bfloat16", "auto"):
        raise BackboneError(f"dtype: expected float32, bfloat16 or auto, got {dtype!r}")
    if name in tiny.TINY_BACKBONES:
        backbone = wrap_model(name, TITLES[name], tiny.make_tiny_model(name), tiny.make_tiny_tokeniser(), random=True)
    elif name in external_backbones():
        backbone = external_backbones()[name].load()
    else:
        source = _resolve_source(name)
        model, tokeniser = _load_pretrained(name, source)
        if name in packaged.INSTALL_COMMANDS:
            backbone = wrap_model(name, TITLES[name], model, tokeniser)
        else:
            with suppress_output():
                own = record_own_scores(model, writes=_select_class(model).family != "encoder")
            backbone = wrap_model(name, name, model, tokeniser)
            check_own_scores(backbone, own)
    backbone = backbone.to(device=target).eval()
    if dtype == "auto":
        choice = choose_dtype(backbone)
        dtype, backbone.dtype_reason = choice.dtype, choice.reason
    return backbone.to(dtype=getattr(torch, dtype))


def load_tokeniser(name: str) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer of a backbone; None if it is not on this machine, or comes from another package.

    Nothing is downloaded and no weights are loaded.
    """
    if name in tiny.TINY_BACKBONES:
        return tiny.make_tiny_tokeniser()
    if name in external_backbones():
        return None
    try:
        with suppress_output():
            found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                _resolve_source(name), trust_remote_code=False, local_files_only=True
            )
    except (OSError, ValueError, KeyError, ImportError):  # Loading the backbone says what is wrong.
        return None
    return found


def read_readout_mode(name: str) -> ReadoutMode | None:
    """Return where a backbone's answer is read; None if it is not on this machine, or comes from another package.

    Nothing is downloaded and no weights are loaded.
    """
    if name in _TINY_READOUTS:
        return _TINY_READOUTS[name].readout_mode
    if name in external_backbones():
        return None
    try:
        config = AutoConfig.from_pretrained(_resolve_source(name), trust_remote_code=False, local_files_only=True)
        return _BACKBONE_CLASSES[select_auto_class(name, config)].readout_mode
    except (OSError, ValueError, KeyError, ImportError):  # Loading the backbone says what is wrong.
        return None


def read_backbone_shape(name: str) -> BackboneShape:
    """Return the sizes of a backbone in a local folder from its config alone: no weights are read.

    Raises:
        BackboneError: if there is no config, or prompts cannot reach a model of this family.
    """
    source = _resolve_source(name)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=True)
        with torch.device("meta"), suppress_output():
            model = select_auto_class(name, config).from_config(config, trust_remote_code=False).eval()
            select_attention(model)
            return BackboneShape(model.get_input_embeddings().weight.shape[1], *find_attention_sites(name, model))
    except BackboneError:
        raise
    except Exception as error:  # a model's code may fail in any way on a config that it was not made for
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BackboneError(f"the sizes of {name!r} cannot be read from its config.json: {first}") from error


def wrap_model(
    name: str, title: str, model: PreTrainedModel, tokeniser: PreTrainedTokenizerBase, random: bool = False
) -> Backbone:
    """Wrap a transformers model in the backbone class for its family and head."""
    if tokeniser.pad_token_id is None:
        tokeniser.pad_token = tokeniser.eos_token or tokeniser.unk_token
    return _select_class(model)(name, title, model, tokeniser, random)


def _select_class(model: PreTrainedModel) -> type[Backbone]:
    if model.config.is_encoder_decoder:
        return EncoderDecoderBackbone
    if "CausalLM" in type(model).__name__ or type(model).__name__.endswith("LMHeadModel"):
        return DecoderBackbone
    return MaskedEncoder if "MaskedLM" in type(model).__name__ else PooledEncoder


@contextmanager
def suppress_output() -> Iterator[None]:
    """Suppress progress bars and warnings while transformers loads: a head may be left out on purpose."""
    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _resolve_source(name: str) -> str:
    if name in packaged.INSTALL_COMMANDS:
        found = packaged.find_checked_folder(name)
        return str(found) if found is not None else str(HUB_IDS[name])
    path = expand_user(name)
    looks_local = name.startswith((".", "/", "~")) or path.exists()
    if looks_local and not (path / "config.json").is_file():
        got = "it has no config.json" if path.is_dir() else "there is no such folder"
        raise BackboneError(f"{path}: expected a folder with config.json, weights and tokenizer; {got}")
    return str(path) if looks_local else name


def _load_pretrained(name: str, source: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    # Without safetensors transformers would ask a service of the Hub to convert the weights.
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "true"
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        family = select_auto_class(name, config)
        has_pooler = family is AutoModel and config.model_type in ("bert", "roberta")
        extras: dict[str, Any] = {"add_pooling_layer": False} if has_pooler else {}
        with suppress_output():
            model = family.from_pretrained(
                source, trust_remote_code=False, weights_only=True, dtype=torch.float32, **extras
            )
            tokeniser = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except BackboneError:
        raise
    except UnpicklingError as error:
        called = re.search(r"GLOBAL (\S+)", str(error))
        reason = (
            f"its pickled weights would call {safe_text(called[1])}; nothing in them was executed"
            if called
            else "its weights are damaged, or no file of torch"
        )
        raise BackboneError(f"cannot load backbone {name!r}: {reason}. Use a model with safetensors weights") from error
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, EOFError, SafetensorError) as error:
        command = packaged.INSTALL_COMMANDS.get(name)
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        folder = "a local folder with config.json, weights (safetensors or pytorch_model.bin) and a tokenizer"
        near = get_close_matches(name, [*TITLES, *external_backbones()], 1)
        named = f"did you mean {near[0]!r}? " if near and near[0] != name else ""
        hint = f"run: {command}" if command else f"{named}check the name, the connection, or give {folder}"
        raise BackboneError(f"cannot load backbone {name!r}: {first}; {hint}") from error
    return model, tokeniser


def select_auto_class(name: str, config: Any) -> Any:
    """Return the Auto class of a checkpoint: by its architecture, or by its config if it names none.

    Raises:
        BackboneError: for a family that prompts cannot reach.
    """
    if (reason := REFUSED_FAMILIES.get(config.model_type)) is not None:
        raise BackboneError(
            f"{name}: prompts cannot be used with the {config.model_type} family: {reason}. {describe_families()}"
        )
    if config.is_encoder_decoder:
        return AutoModelForSeq2SeqLM
    architecture = (config.architectures or [""])[0]
    if "CausalLM" in architecture or architecture.endswith("LMHeadModel"):
        return AutoModelForCausalLM
    if "MaskedLM" in architecture:
        return AutoModelForMaskedLM
    causal, masked = (kind._model_mapping for kind in (AutoModelForCausalLM, AutoModelForMaskedLM))
    if not architecture and type(config) in causal and type(config) not in masked:
        return AutoModelForCausalLM
    return AutoModel

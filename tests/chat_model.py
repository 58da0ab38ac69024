"""A tiny instruct decoder: the tiny decoder, and its tokenizer with a chat template of ours."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from ptviz.backbones import Backbone, wrap_model
from ptviz.backbones.tiny import make_tiny_model, make_tiny_tokeniser

USER, ASSISTANT, END = "[CLS]", "[SEP]", "</s>"
"""Special tokens that the tiny tokenizer has, in the roles of a chat's marks."""
TEMPLATE = (
    "{{ 'be brief' + eos_token }}"
    "{% for message in messages %}"
    "{{ ('[CLS]' if message['role'] == 'user' else '[SEP]') + message['content'] | trim + eos_token + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '[SEP]' }}{% endif %}"
)


def chat_tokeniser(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """The tiny tokenizer with a chat template."""
    tokeniser = make_tiny_tokeniser()
    tokeniser.chat_template = template
    return tokeniser


def chat_backbone() -> Backbone:
    """The tiny decoder with a chat template."""
    return wrap_model("tiny-chat", "tiny chat", make_tiny_model("tiny-decoder"), chat_tokeniser(), random=True).eval()


def save_chat_model(folder: Path, template: str | None = TEMPLATE) -> str:
    """Save the tiny instruct decoder as a local folder."""
    make_tiny_model("tiny-decoder").save_pretrained(folder)
    chat_tokeniser(template).save_pretrained(folder)
    return str(folder)

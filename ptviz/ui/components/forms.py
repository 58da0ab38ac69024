"""Forms made from declarations: a method's hyperparameters and the training settings. No method is named here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Literal, NamedTuple

import streamlit as st

from ptviz.methods import list_methods
from ptviz.methods.hyperparameters import HyperparameterInfo, HyperparameterValue
from ptviz.plots.method_style import method_title
from ptviz.safe_text import safe_text
from ptviz.training.config import DTYPES, MAX_STEPS, OPTIMISERS, SCHEDULES, TrainConfig
from ptviz.ui.classroom import visitor_rules
from ptviz.ui.components.address_values import expect_one_of, refuse_in_words, take_given
from ptviz.ui.components.glossary import meaning

FORM_COLUMNS = 3
_MAIN_HYPERPARAMETERS = ("m", "r", "k", "init")
"""What most runs choose: prompt tokens, rank, experts or sources, initialisation. Methods share these names."""


_GREEK = re.compile(r"alpha|beta|gamma|delta|eta|lambda|mu|rho|sigma|tau")


def _latex_symbol(name: re.Match[str]) -> str:
    return "\\" + name[0]


def select_one(label: str, titles: Mapping[str, str], *, key: str, help: str | None = None) -> str:
    """Return one of several names, selected by title; the address stores the name. The first is the default.

    ``bind="query-params"`` would put the title into the address, which then breaks when a title is reworded.
    """
    names = list(titles)
    expect_one_of(key, names, names[0] or titles[names[0]])
    asked = st.query_params.get(key)
    # Not through the session's state: a page that is drawn again at once would show the first one.
    index = names.index(str(asked)) if asked in titles else 0

    def save() -> None:
        chosen = st.session_state[key]
        if chosen != names[0]:
            st.query_params[key] = chosen
        elif key in st.query_params:
            del st.query_params[key]

    return str(st.selectbox(label, names, index, lambda n: titles.get(n, n), key=key, help=help, on_change=save))


def select_one_or_all(label: str, names: list[str], *, key: str) -> int | None:
    """Return the index of the selected name, None for all; an index that another run does not have is dropped."""
    options = ["all", *names]
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)
    chosen = st.selectbox(label, options, key=key, bind="query-params")
    return None if chosen == "all" else names.index(chosen)


def hyperparameter_form(method: str) -> dict[str, HyperparameterValue]:
    """Return the hyperparameters of a method from widgets, whose state is in the address.

    Sizes and initialisation come first; the rest is folded away while it has its defaults.
    """
    known = list_methods()[method].hyperparameters
    main = {name: info for name, info in known.items() if name in _MAIN_HYPERPARAMETERS}
    others = {name: info for name, info in known.items() if name not in main}
    values = _hyperparameter_grid(method, main)
    if others:
        changed = any(f"{method}-{name}" in st.query_params for name in others)
        with st.expander(f"More settings of {method_title(method)}", expanded=changed):
            values |= _hyperparameter_grid(method, others)
    return {name: values[name] for name in known}


def _hyperparameter_grid(method: str, known: Mapping[str, HyperparameterInfo]) -> dict[str, HyperparameterValue]:
    with st.grid(FORM_COLUMNS, vertical_alignment="bottom"):
        return {name: hyperparameter_input(f"{method}-{name}", info) for name, info in known.items()}


def hyperparameter_input(
    key: str, info: HyperparameterInfo, bind: Literal["query-params"] | None = "query-params"
) -> HyperparameterValue:
    """Return a hyperparameter from a widget, at first its default; without ``bind`` the address does not store it."""
    symbol, meaning = info.declaration.symbol, info.declaration.meaning
    short = re.split("[:;]", meaning)[0]
    label = short if symbol == info.name and len(symbol) > 2 else f"{short} ${_GREEK.sub(_latex_symbol, symbol)}$"
    help = meaning if short != meaning else None
    if info.choices or info.value_type in (int, float):
        _expect_hyperparameter(key, info)
    if info.choices:
        index = info.choices.index(str(info.default))
        return st.selectbox(label, info.choices, index=index, key=key, help=help, bind=bind)
    if info.value_type is bool:
        return st.toggle(label, value=bool(info.default), key=key, help=help, bind=bind)
    if info.value_type is str:
        return st.text_input(label, value=str(info.default), key=key, help=help, max_chars=500, bind=bind)
    kind = int if info.value_type is int else float
    low, high = (None if edge is None else kind(edge) for edge in (info.declaration.minimum, info.declaration.maximum))
    bounds = f"from {low:g} to {high:g}" if low is not None and high is not None else ""
    number = st.number_input(
        label,
        min_value=low,
        max_value=high,
        value=kind(info.default),
        step=1 if kind is int else 0.01,
        key=key,
        help=". ".join(part for part in (help, bounds) if part) or None,
        bind=bind,
    )
    return kind(number)


def _expect_hyperparameter(key: str, info: HyperparameterInfo) -> None:
    """Report a value of the address that the widget of a hyperparameter would replace by its default."""
    try:
        if given := take_given(key):
            info.validate(safe_text(given))
    except ValueError as error:
        refuse_in_words(f"{error}. {info.default} is used instead")


class _NumberField(NamedTuple):
    name: str
    label: str
    help: str

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the limits of the setting: a run that is duplicated may have any value between them."""
        (found,) = (field.metadata for field in fields(TrainConfig) if field.name == self.name)
        return found["low"], found["high"]


_INTEGER_FIELDS = (
    _NumberField("batch", "batch size", "training examples per update"),
    _NumberField("seed", "seed", "the same seed gives the same result"),
    _NumberField("evaluate_every", "evaluate every … steps", "how often the prompt is scored on validation examples"),
    _NumberField("snapshot_every", "snapshot every … steps", "how often the prompt is saved; the best one always is"),
    _NumberField("patience", "patience", "evaluations without a better score before stopping; 0 never stops early"),
    _NumberField("shots", "training examples per class", "few-shot learning; 0 takes all examples"),
    _NumberField("train_rows", "training examples, at most", "drawn once, by the seed"),
    _NumberField("validation_rows", "validation examples, at most", "more: steadier scores, slower evaluation"),
    _NumberField("test_rows", "test examples, at most", "used once, when the run ends"),
    _NumberField("length", "maximum length (tokens)", "longer texts are cut"),
    _NumberField("source_steps", "steps of each source prompt", "and of a stage on source tasks, for transfer"),
    _NumberField("source_seed", "seed of the source prompts", "runs of all seeds share them while it is the same"),
)
_FLOAT_FIELDS = (
    _NumberField("warmup", "warm-up (share of steps)", "the learning rate rises from 0 over this share of the steps"),
    _NumberField("weight_decay", "weight decay", "shrinks the prompt a little in every step"),
    _NumberField(
        "clip", "gradient clipping (norm)", "gradients with a larger norm are scaled down to it; 0: no clipping"
    ),
    _NumberField(
        "task_temperature",
        "temperature of several tasks",
        "target tasks are drawn by their sizes to the power of 1 / this; 1: in proportion",
    ),
)
_CHOICE_FIELDS = (
    ("optimiser", "optimiser", OPTIMISERS),
    ("schedule", "learning-rate schedule", SCHEDULES),
    ("dtype", "type of the frozen weights", DTYPES),
    ("backbone_dropout", "dropout inside the frozen backbone", ("off", "on")),
)


def render_refused_settings() -> None:
    """Say which training settings of the page's address cannot be used: their widgets would change them silently."""
    for setting in fields(TrainConfig):
        text = take_given(setting.name) if setting.metadata["help"] else ""
        try:
            if text:
                _check_setting(setting.name, str(setting.type), text)
        except ValueError as error:
            refuse_in_words(f"{error}. The form has the value that is used instead")


def _check_setting(name: str, kind: str, text: str) -> None:
    value: int | float | str = text
    if kind != "str":
        try:
            value = int(text) if kind == "int" else float(text)
        except ValueError:
            wanted = "an integer" if kind == "int" else "a number"
            raise ValueError(f"{name}: expected {wanted}; got {safe_text(text)}") from None
    TrainConfig.from_json({name: value})
    rules = visitor_rules()
    if rules is not None and not isinstance(value, str) and value > (most := rules.largest(name)):
        raise ValueError(f"{name}: expected at most {most:,} in this classroom; got {value:,}")


def steps_input() -> int:
    """Return the number of training steps from a widget."""
    help, most = "one step is one update of the prompt", max_steps()
    usual = min(TrainConfig().steps, most)
    return int(st.number_input("training steps", 1, most, usual, 50, key="steps", help=help, bind="query-params"))


def max_steps() -> int:
    """Return the most training steps that a form offers: fewer for a visitor of a classroom."""
    rules = visitor_rules()
    return MAX_STEPS if rules is None else rules.max_steps


def training_form(steps: int, default_lr: float, origin: str) -> TrainConfig:
    """Return the training settings from widgets; ``origin`` says where the default learning rate comes from.

    Raises:
        ValueError: if settings do not go together, naming the field.
    """
    usual, rules = TrainConfig(), visitor_rules()
    values: dict[str, int | float | str | None] = {"steps": steps}
    with st.grid(FORM_COLUMNS, vertical_alignment="bottom"):
        values["lr"] = st.number_input(
            "learning rate",
            min_value=0.0,
            max_value=100.0,
            value=None,
            format="%g",
            placeholder=f"{default_lr:g} ({origin})",
            key="lr",
            help=f"{meaning('learning rate')} Empty: the default of this method and backbone.",
            bind="query-params",
        )
        for setting in _INTEGER_FIELDS:
            low, high = setting.bounds
            if rules is not None:
                high = min(high, rules.largest(setting.name))
            value = st.number_input(
                setting.label,
                int(low),
                int(high),
                min(int(getattr(usual, setting.name)), int(high)),
                key=setting.name,
                help=setting.help,
                bind="query-params",
            )
            values[setting.name] = int(value)
        for setting in _FLOAT_FIELDS:
            low, high = setting.bounds
            share = st.number_input(
                setting.label,
                float(low),
                float(high),
                float(getattr(usual, setting.name)),
                step=0.01,
                format="%g",
                key=setting.name,
                help=setting.help,
                bind="query-params",
            )
            values[setting.name] = float(share)
        for name, label, choices in _CHOICE_FIELDS:
            index = choices.index(getattr(usual, name))
            values[name] = st.selectbox(label, choices, index=index, key=name, bind="query-params")
    return TrainConfig.from_json(values)

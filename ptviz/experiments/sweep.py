"""Sweeps: methods, tasks, backbones, seeds, and lists or ranges of any setting, from one TOML file to run configs.

A grid makes every combination. A random search draws each setting on its own, as Bergstra and Bengio, "Random Search
for Hyper-Parameter Optimization", JMLR 2012, https://jmlr.org/papers/v13/bergstra12a.html. A drawn value depends on
``search_seed``, the number of the draw and the setting's name alone: methods share the draws of the settings that they
share, and a longer search begins with the runs of a shorter one.
"""

from __future__ import annotations

import itertools
import math
import tomllib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import numpy as np
from msgspec import Meta

from ptviz import paths
from ptviz.atomic_files import write_file
from ptviz.experiments.comparison import parse_methods
from ptviz.methods import list_methods
from ptviz.runs.config import RunConfig, with_absolute_paths
from ptviz.safe_text import safe_list, safe_text, slug
from ptviz.tasks import TableOptions
from ptviz.training.config import TrainConfig
from ptviz.validation import InvalidData, Magnitude, Name, PathText, convert_json

MAX_RUNS = 100_000
STOPPED_EARLY = "stopped early by ASHA"
"""Begins the reason of a run that fell behind the others of its sweep."""
_MAX_FILE_BYTES = 1_000_000

Search = Literal["grid", "random", "asha"]
SEARCHES: tuple[str, ...] = get_args(Search)
Value = bool | Annotated[int, Meta(ge=-(10**15), le=10**15)] | Magnitude | Name


class SweepError(ValueError):
    """A sweep cannot be made; the message says where, what was expected and what came."""


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers from ``low`` to ``high``: a grid takes ``points`` of them, a random search draws from all.

    ``scale`` "log" spaces or draws their logarithms evenly.
    """

    low: Magnitude
    high: Magnitude
    points: Annotated[int, Meta(ge=1, le=1000)] | None = None
    scale: Literal["linear", "log"] = "linear"


Choice = Range | Annotated[list[Value], Meta(min_length=1, max_length=10_000)] | Value
"""A range, a list of values, or one value."""
_Names = Annotated[list[PathText], Meta(min_length=1, max_length=1000)]
_Seed = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Settings = Annotated[dict[Name, Choice], Meta(max_length=100)]


class EarlyStopping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ASHA: at ``grace`` steps, and at ``reduction`` times as many again and again, only the best go on.

    One in ``reduction`` runs goes on, as in Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys
    2020, https://arxiv.org/abs/1810.05934.
    """

    grace: Annotated[int, Meta(ge=1, le=1_000_000)] = 50
    reduction: Annotated[int, Meta(ge=2, le=100)] = 3


class _SpecFile(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=80)] = "sweep"
    methods: _Names | PathText = "all"
    tasks: _Names | PathText = "trec6"
    backbones: _Names | PathText = "minilm-l6"
    seeds: Annotated[list[_Seed], Meta(min_length=1, max_length=10_000)] | Annotated[int, Meta(ge=1, le=10_000)] = 3
    search: Search = "grid"
    samples: Annotated[int, Meta(ge=1, le=MAX_RUNS)] = 20
    search_seed: _Seed = 0
    training: _Settings = {}
    hyperparameters: _Settings = {}
    early_stopping: EarlyStopping | None = None
    text: Name | None = None
    label: Name | None = None
    device: Name | None = None
    sources: _Names | None = None


@dataclass(frozen=True)
class SweepSpec:
    """A sweep. ``training`` and ``hyperparameters`` map names to what is tried; the rest is as in ``RunConfig``.

    A hyperparameter is tried with every method that has it. ``samples`` are the draws of a random search for each
    method, task and backbone; each draw is trained with every seed.
    """

    name: str = "sweep"
    methods: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("trec6",)
    backbones: tuple[str, ...] = ("minilm-l6",)
    seeds: tuple[int, ...] = (0, 1, 2)
    search: Search = "grid"
    samples: int = 20
    search_seed: int = 0
    training: Mapping[str, Choice] = field(default_factory=dict)
    hyperparameters: Mapping[str, Choice] = field(default_factory=dict)
    early_stopping: EarlyStopping | None = None
    text: str | None = None
    label: str | None = None
    device: str | None = None
    sources: tuple[str, ...] | None = None


def parse_sweep(data: bytes) -> SweepSpec:
    """Return the sweep of a TOML file.

    Raises:
        SweepError: if it is no TOML, or a field is unknown, wrongly typed or out of its bounds.
    """
    if len(data) > _MAX_FILE_BYTES:
        raise SweepError(f"expected a file of at most {_MAX_FILE_BYTES / 1e6:g} MB; got {len(data) / 1e6:.1f} MB")
    try:
        found = convert_json(tomllib.loads(data.decode()), _SpecFile)
    except UnicodeDecodeError as error:
        raise SweepError(f"expected a TOML file in UTF-8; {safe_text(error, 200)}") from None
    except tomllib.TOMLDecodeError as error:
        raise SweepError(f"expected TOML; {safe_text(error, 200)}") from None
    except InvalidData as error:
        raise SweepError(f"{error}; known fields are {', '.join(_SpecFile.__struct_fields__)}") from None
    plain = msgspec.structs.asdict(found)
    methods = plain["methods"] if isinstance(plain["methods"], str) else ",".join(plain["methods"])
    try:
        plain["methods"] = parse_methods(methods)
    except ValueError as error:
        raise SweepError(str(error)) from None
    for name in ("tasks", "backbones"):
        plain[name] = (plain[name],) if isinstance(plain[name], str) else _without_repeats(name, plain[name])
    seeds = plain["seeds"]
    plain["seeds"] = tuple(range(seeds)) if isinstance(seeds, int) else _without_repeats("seeds", seeds)
    plain["sources"] = None if plain["sources"] is None else tuple(plain["sources"])
    if found.search != "asha" and found.early_stopping is not None:
        raise SweepError(f'early_stopping: expected search = "asha" with it; got search = "{found.search}"')
    if found.search == "asha" and found.early_stopping is None:
        plain["early_stopping"] = EarlyStopping()
    return SweepSpec(**plain)


def read_sweep(path: Path) -> SweepSpec:
    """Return the sweep of a file.

    Raises:
        SweepError: if the file cannot be read, or is no sweep.
    """
    try:
        return parse_sweep(path.read_bytes())
    except OSError as error:
        raise SweepError(f"{path} cannot be read: {error.strerror or error}") from None
    except SweepError as error:
        raise SweepError(f"{path.name}: {error}") from None


def _without_repeats(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise SweepError(f"{name}: expected each once; got {safe_list([str(value) for value in values])}")
    return tuple(values)


def expand_sweep(spec: SweepSpec) -> tuple[RunConfig, ...]:
    """Return the config of every run: seed by seed, then task, backbone and method; equal trainings once.

    Raises:
        SweepError: for an unknown or bad setting, a range that cannot be tried, or more than ``MAX_RUNS`` runs.
    """
    _check_names(spec)
    count = sum(_count_settings(spec, method) for method in spec.methods)
    if (count := count * len(spec.seeds) * len(spec.tasks) * len(spec.backbones)) > MAX_RUNS:
        raise SweepError(f"expected at most {MAX_RUNS:,} runs; these settings make {count:,}. Leave some out")
    found: dict[str, RunConfig] = {}
    for seed, task, backbone, method in itertools.product(spec.seeds, spec.tasks, spec.backbones, spec.methods):
        for settings in _list_settings(spec, method):
            config = _make_config(spec, seed, task, backbone, method, settings)
            found.setdefault(config.training_fingerprint, config)
    return tuple(found.values())


def _make_config(
    spec: SweepSpec, seed: int, task: str, backbone: str, method: str, settings: Mapping[str, Any]
) -> RunConfig:
    own = {name: value for name, value in settings.items() if name in list_methods()[method].hyperparameters}
    training = {name: value for name, value in settings.items() if name not in own and name in spec.training}
    sources = spec.sources if list_methods()[method].uses_source_tasks else None
    sources = None if sources is None else tuple(name for name in sources if name != task) or None
    try:
        config = RunConfig(
            backbone, task, method, own, TrainConfig(**training, seed=seed), device=spec.device, text=spec.text,
            label=spec.label, sources=sources, table=TableOptions(),
        )  # fmt: skip
        return with_absolute_paths(config).checked()
    except ValueError as error:
        raise SweepError(str(error)) from None


def _check_names(spec: SweepSpec) -> None:
    known = {one.name: one for one in fields(TrainConfig) if one.metadata["help"] and one.name != "seed"}
    for name, choice in spec.training.items():
        if name not in known:
            hint = " Seeds are given by `seeds`." if name == "seed" else ""
            raise SweepError(f"training.{safe_text(name)}: expected one of {', '.join(known)}.{hint}")
        _check_range(f"training.{name}", choice, "int" if str(known[name].type) == "int" else "", spec.search)
    for name, choice in spec.hyperparameters.items():
        infos = [list_methods()[method].hyperparameters.get(name) for method in spec.methods]
        types = {info.value_type for info in infos if info is not None}
        if not types:
            raise SweepError(f"hyperparameters.{safe_text(name)}: none of the methods has it")
        if name in spec.training:
            raise SweepError(f"{name} is given in both training and hyperparameters; give it in one")
        _check_range(f"hyperparameters.{name}", choice, "int" if types == {int} else "", spec.search)


def _check_range(where: str, choice: Choice, kind: str, search: Search) -> None:
    if not isinstance(choice, Range):
        return
    if choice.low > choice.high:
        raise SweepError(f"{where}: expected low <= high; got {choice.low:g} and {choice.high:g}")
    if choice.scale == "log" and choice.low <= 0:
        raise SweepError(f"{where}: expected low above 0 on a log scale; got {choice.low:g}")
    if search == "grid" and choice.points is None:
        raise SweepError(f"{where}: a grid needs the number of points, as in points = 5; or use a list")
    if kind == "int" and (choice.low != int(choice.low) or choice.high != int(choice.high)):
        raise SweepError(f"{where}: expected whole numbers as low and high; got {choice.low:g} and {choice.high:g}")


def _settings_of(spec: SweepSpec, method: str) -> tuple[dict[str, Choice], set[str]]:
    """Return what is tried with a method, by name, and the names of whole numbers."""
    infos = list_methods()[method].hyperparameters
    tried = dict(spec.training) | {name: choice for name, choice in spec.hyperparameters.items() if name in infos}
    whole = {name for name, info in infos.items() if info.value_type is int}
    return tried, whole | {one.name for one in fields(TrainConfig) if str(one.type) == "int"}


def _count_settings(spec: SweepSpec, method: str) -> int:
    tried, whole = _settings_of(spec, method)
    if spec.search == "grid":
        return math.prod(len(_list_values(choice, name in whole)) for name, choice in tried.items())
    return spec.samples if any(isinstance(choice, Range | list) for choice in tried.values()) else 1


def _list_settings(spec: SweepSpec, method: str) -> Iterator[dict[str, Any]]:
    """Yield the settings that are tried with a method: every combination, or the draws."""
    tried, whole = _settings_of(spec, method)
    if spec.search == "grid":
        listed = [_list_values(choice, name in whole) for name, choice in tried.items()]
        yield from (dict(zip(tried, values, strict=True)) for values in itertools.product(*listed))
        return
    for number in range(_count_settings(spec, method)):
        yield {name: _draw(choice, name, number, spec.search_seed, name in whole) for name, choice in tried.items()}


def _list_values(choice: Choice, whole: bool) -> list[Any]:
    if isinstance(choice, Range):
        space = np.geomspace if choice.scale == "log" else np.linspace
        return list(dict.fromkeys(_plain(value, whole) for value in space(choice.low, choice.high, choice.points or 1)))
    return list(dict.fromkeys(choice)) if isinstance(choice, list) else [choice]


def _draw(choice: Choice, name: str, number: int, seed: int, whole: bool) -> Any:
    random = np.random.default_rng([seed, number, zlib.crc32(name.encode())])
    if isinstance(choice, Range):
        if choice.scale == "log":
            return _plain(np.exp(random.uniform(np.log(choice.low), np.log(choice.high))), whole)
        return _plain(random.uniform(choice.low, choice.high), whole)
    return choice[int(random.integers(len(choice)))] if isinstance(choice, list) else choice


def _plain(value: float, whole: bool) -> int | float:
    """Return a number of a range: whole, or with the six digits that a reader can compare."""
    return round(float(value)) if whole else float(f"{value:.6g}")


def sweeps_folder() -> Path:
    """Return the folder of the specs that ``save_sweep`` writes, in the data folder of the user."""
    return paths.data_dir() / "sweeps"


def save_sweep(spec: SweepSpec, data: bytes) -> Path:
    """Save the text of a sweep under its name, so that the page of sweeps finds it; an earlier one is replaced.

    Raises:
        OSError: if it cannot be written.
    """
    path = sweeps_folder() / f"{slug(spec.name)}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data)
    return path


def saved_sweeps() -> list[Path]:
    """Return the files of the saved sweeps, the newest first."""
    folder = sweeps_folder()
    found = list(folder.glob("*.toml")) if folder.is_dir() else []
    return sorted(found, key=lambda path: (-path.stat().st_mtime, path.name))


def sweep_from_options(plain: Mapping[str, Any]) -> tuple[SweepSpec, bytes]:
    """Return the sweep of the same fields as in a file, and the text of such a file.

    Raises:
        SweepError: as ``parse_sweep`` does.
    """
    data = "\n".join(_toml_lines(plain)).encode() + b"\n"
    return parse_sweep(data), data


def _toml_lines(plain: Mapping[str, Any]) -> Iterator[str]:
    tables = {name: value for name, value in plain.items() if isinstance(value, Mapping)}
    yield from (f"{name} = {_toml(value)}" for name, value in plain.items() if name not in tables)
    for name, table in tables.items():
        yield f"\n[{name}]"
        yield from (f"{_toml(key)} = {_toml(value)}" for key, value in table.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return msgspec.json.encode(value).decode()

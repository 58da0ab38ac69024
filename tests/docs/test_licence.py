"""The licence, the notice and the citation agree with the package's metadata and with what is installed."""

from __future__ import annotations

import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml

import ptviz

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTICE = (ROOT / "NOTICE").read_text()


def test_the_licence_is_the_apache_licence() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in text.splitlines()[0]
    assert "Version 2.0, January 2004" in text
    assert "9. Accepting Warranty or Additional Liability" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert all((ROOT / name).is_file() for name in PROJECT["license-files"])
    assert "Copyright The ptviz authors" in NOTICE


@pytest.mark.parametrize("requirement", PROJECT["optional-dependencies"]["embedded"])
def test_the_notice_names_the_terms_of_every_package_read_as_data(requirement: str) -> None:
    name, _, version = requirement.partition("==")
    entry = NOTICE.partition(f"\n{name} {version}\n")[2].partition("\n\n")[0]
    assert entry, f"expected an entry {name} {version!r} in NOTICE"
    declared = metadata(name)
    assert declared["Version"] == version
    licence = declared["License-Expression"] or declared["License"]
    if licence == "UNKNOWN":
        [licence] = [
            line.rpartition(" :: ")[2] for line in declared.get_all("Classifier", []) if line.startswith("License ::")
        ]
    assert f"Metadata: {licence}" in entry


def test_the_citation_names_this_version_its_authors_and_the_survey() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)  # the keys that CFF 1.2 requires
    assert citation["version"] == ptviz.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]
    [survey] = citation["references"]
    assert survey["url"] == PROJECT["urls"]["Survey"] == "https://arxiv.org/abs/2507.06085"

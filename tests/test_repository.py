"""The files for people who visit, cite, install or publish the repository."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
import yaml

import handpose
from tests.helpers.paths import EXAMPLES, ROOT

YAML = [
    *(ROOT / ".github").rglob("*.yml"),
    *(ROOT / name for name in ("CITATION.cff", ".readthedocs.yaml", ".pre-commit-config.yaml")),
]


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_files_can_be_parsed(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_issue_forms_have_what_the_site_requires() -> None:
    forms = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert len(forms) == 3
    for path in forms:
        form = yaml.safe_load(path.read_text())
        assert form["name"]
        assert form["description"]
        assert all(item["attributes"]["label"] for item in form["body"])


def test_the_citation_names_the_authors_of_the_paper() -> None:
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Fang", "Liu", "Liu", "Xu", "Kang"]  # the paper's title page
    bibtex = (ROOT / "README.md").read_text().split("@inproceedings")[1]
    assert re.findall(r"(\w+), \w+", bibtex.split("author")[1].split("\n")[0]) == names
    assert " ".join(paper["title"].split()) in " ".join(bibtex.split()).replace("{JGR-P2O}: ", "").replace("{3D}", "3D")


def test_the_release_workflow_reads_the_version_where_it_is() -> None:
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    pattern = re.search(r"s/\^(.*?)\\\(", workflow)
    assert pattern is not None
    assert f"{pattern.group(1)}{handpose.__version__}" in (ROOT / "handpose" / "version.py").read_text()


def test_links_of_the_readme_become_absolute_when_published() -> None:
    absolute = runpy.run_path(str(ROOT / ".github" / "absolute_links.py"))["absolute"]
    text = "![a hand](docs/hand.png) [page](docs/a.md#part) [site](https://example.org) [below](#more)"
    assert absolute(text, "https://host/me/it", "v1.0") == (
        "![a hand](https://host/me/it/raw/v1.0/docs/hand.png) [page](https://host/me/it/blob/v1.0/docs/a.md#part) "
        "[site](https://example.org) [below](#more)"
    )
    published = absolute((ROOT / "README.md").read_text(), "https://host/me/it", "v1.0")
    assert re.findall(r"\]\((?!https:)[^)]*", published) == []


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text().split("\n## More")[0]
    assert len(re.sub(r"^```.*?^```", "", text, flags=re.M | re.S).split()) <= 500


def test_images_of_others_come_with_their_license() -> None:
    license = (EXAMPLES / "sr305" / "LICENSE.txt").read_text()
    assert license.startswith("MIT License")
    assert "Ladislav Ondris" in license
    assert "examples/sr305/" in (ROOT / "NOTICE").read_text()
    assert len(list((EXAMPLES / "sr305").glob("*.png"))) == 3
    camera = json.loads((EXAMPLES / "sr305" / "camera.json").read_text())
    assert (camera["fx"], camera["width"], camera["height"]) == (476.007, 640, 480)

"""The documentation says what is so: its Python runs, its commands have their options, its links lead somewhere."""

from __future__ import annotations

import doctest
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import handpose
from handpose.cli.main import app
from tests.helpers.browser import open_browser
from tests.helpers.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def fences(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has prompts gives what is shown, with the names of `handpose` at hand; the rest is at least Python."""
    monkeypatch.chdir(ROOT)
    blocks = fences(page, "python")
    tested = "\n".join(block for block in blocks if ">>> " in block)
    for block in blocks:
        if ">>> " not in block:
            compile(block, page.name, "exec")
    if tested:
        names = {name: getattr(handpose, name) for name in handpose.__all__}
        names["estimator"] = handpose.HandPoseEstimator.from_pretrained("msra")
        test = doctest.DocTestParser().get_doctest(tested, names, page.name, str(page), 0)
        said: list[str] = []
        doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
        assert not said, "".join(said)


def test_the_table_of_extras_is_complete() -> None:
    tomllib = pytest.importorskip("tomllib")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", (ROOT / "docs" / "install.md").read_text(), re.M)
    documented = {name: installs for names, installs in rows for name in re.findall(r"`(\w+)`", names)}
    assert documented.keys() >= extras.keys()
    assert {name for name in documented if name.islower()} == extras.keys()  # the others are environment variables
    (included,) = (re.findall(r"\w+", each)[1:] for each in extras["dev"] if each.startswith("handpose["))
    assert {"dev", *re.findall(r"`(\w+)`", documented["dev"])} == extras.keys() - set(included)


def test_the_five_minutes_are_tested() -> None:
    assert sum(">>> " in block for block in fences(ROOT / "docs" / "start.md", "python")) >= 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    commands = typer.main.get_command(app).commands
    lines = "".join(fences(page, "console")).replace("\\\n", " ").splitlines()
    for line in lines:
        for name, rest in re.findall(r"handpose ([a-z][\w-]*)((?: [^&|#]*)?)", line.removeprefix("$ ")):
            if line.startswith("$ ") and "pip install" not in line.split(f"handpose {name}")[0].split("&&")[-1]:
                assert name in commands, line
                known = {option for parameter in commands[name].params for option in parameter.opts}
                used = set(re.findall(r"(?<=\s)--?[a-z][\w-]*", rest))
                assert used <= known, (line, used - known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


def test_examples_import_from_the_package_itself_only() -> None:
    scripts = [file for file in (ROOT / "examples").glob("*.py") if not file.name.startswith("render_")]
    code = "".join([*(file.read_text() for file in scripts), *("".join(fences(page, "python")) for page in PAGES)])
    assert "from handpose import" in code
    assert re.findall(r"(?:from|import) handpose\.\S+", code) == []


def test_every_public_name_is_in_the_reference() -> None:
    reference = (ROOT / "docs" / "api.md").read_text()
    assert [name for name in handpose.__all__ if not re.search(rf"\b{name}\b", reference)] == []


@pytest.mark.parametrize("name", ["api.md", "cli.md"])
def test_references_are_up_to_date(name: str) -> None:
    pytest.importorskip("griffe")
    pages = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))["PAGES"]
    text = (ROOT / "docs" / name).read_text()
    assert pages[name](text) == text, "run python docs/make_reference.py"


def test_the_drawing_of_the_network_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    drawing = runpy.run_path(str(ROOT / "docs" / "draw_network.py"))["drawing"]
    assert drawing() == (ROOT / "docs" / "images" / "network.svg").read_text(), "run python docs/draw_network.py"


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(ROOT / "docs"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with open_browser() as page:
        for file in sorted(tmp_path.glob("*.html")):
            page.goto(file.as_uri())
        page.goto((tmp_path / "cli.html").as_uri())
        assert page.locator("h2").filter(has_text="handpose predict").count() == 1
        page.goto((tmp_path / "how.html").as_uri())
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")

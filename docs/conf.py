"""How Sphinx builds this folder: `sphinx-build -W docs build/docs`. The site loads nothing from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from handpose import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project, author, copyright = "handpose", "the handpose authors", "the handpose authors, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}

smartquotes = False  # "--" is an option, not a dash
default_role = "literal"  # docstrings hold `code`
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True
autodoc_mock_imports = ["pyarrow"]  # of the extra `ray`, which pages do not need
autodoc_typehints = "none"  # signatures hold them

html_theme = "furo"
html_title = f"handpose {version}"
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2f6fb3", "color-brand-content": "#2f6fb3"},
    "dark_css_variables": {"color-brand-primary": "#7db4e8", "color-brand-content": "#7db4e8"},
}


def _add_commands(app: Sphinx, page: str, source: list[str]) -> None:
    """Ends the page `cli` with what Typer knows of the commands."""
    if page == "cli":
        command = [sys.executable, "-m", "typer", "handpose.cli", "utils", "docs", "--name", "handpose"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        source[0] += done.stdout.split("\n## ", 1)[1].join(["\n## ", ""])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _add_commands)

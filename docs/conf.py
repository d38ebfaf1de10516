"""Sphinx configuration. Build the site with `sphinx-build -W docs build/docs`; it loads no external resources."""

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
default_role = "literal"  # docstrings contain `code`
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"handpose {version}"
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2f6fb3", "color-brand-content": "#2f6fb3"},
    "dark_css_variables": {"color-brand-primary": "#7db4e8", "color-brand-content": "#7db4e8"},
}


def _add_commands(app: Sphinx, page: str, source: list[str]) -> None:
    """Append Typer's reference of all commands to the page `cli`."""
    if page == "cli":
        command = [sys.executable, "-m", "typer", "handpose.cli.main", "utils", "docs", "--name", "handpose"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        source[0] += done.stdout.split("\n## ", 1)[1].join(["\n## ", ""])


def setup(app: Sphinx) -> None:
    """Connect the hook above; called by Sphinx."""
    app.connect("source-read", _add_commands)

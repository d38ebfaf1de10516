"""Sphinx configuration. Build the site with `sphinx-build -W docs build/docs`; it loads no external resources."""

from __future__ import annotations

from handpose import __version__

project, author, copyright = "handpose", "the handpose authors", "the handpose authors, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx_copybutton"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}

smartquotes = False  # "--" is an option, not a dash
copybutton_prompt_text = r"\$ |>>> |\.\.\. "  # what is copied can be run
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"handpose {version}"
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2f6fb3", "color-brand-content": "#2f6fb3"},
    "dark_css_variables": {"color-brand-primary": "#7db4e8", "color-brand-content": "#7db4e8"},
}

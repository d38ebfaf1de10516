"""Make the relative links and images of a Markdown file absolute: absolute_links.py FILE REPOSITORY TAG."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def absolute(text: str, repository: str, tag: str) -> str:
    """Return the text with its relative links pointing into the repository at the tag, images at their raw files."""

    def link(match: re.Match[str]) -> str:
        image, label, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match.group()
        return f"{image}[{label}]({repository}/{'raw' if image else 'blob'}/{tag}/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, text)


if __name__ == "__main__":
    file, repository, tag = sys.argv[1:]
    Path(file).write_text(absolute(Path(file).read_text(encoding="utf-8"), repository, tag), encoding="utf-8")

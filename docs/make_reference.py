"""Write the references of the Python API and of the command line: `docs/api.md` and `docs/cli.md`.

python docs/make_reference.py

Both are plain Markdown, so that they can be read in the repository as well as on the site. In `api.md`, each line
`<!-- reference: NAME -->` is followed by what this script writes about that public name; the rest is written by hand.
In `cli.md`, everything after the line `<!-- reference -->` is written by this script.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

DOCS = Path(__file__).resolve().parent
END = "<!-- end -->"


def describe(name: str, package: griffe.Module) -> str:
    """Return the reference of a public name and of its public members, the inherited ones last."""
    item = package[name]
    item = item.final_target if isinstance(item, griffe.Alias) else item
    lines = [*_entry(name, item, "###")]
    if isinstance(item, griffe.Class):
        inherited = (member.final_target for member in item.inherited_members.values())
        for member in [*item.members.values(), *inherited]:
            called = member.name in {"__call__", "__getitem__"}
            if isinstance(member, griffe.Function) and member.docstring and (called or member.is_public):
                lines += _entry(f"{name}.{member.name}", member, "####")
            elif isinstance(member, griffe.Attribute) and "property" in member.labels and member.is_public:
                lines += [f"#### `{name}.{member.name}`", "", f"Property: `{member.annotation}`.", "", *_text(member)]
    return "\n".join(lines)


def _entry(name: str, item: griffe.Object, heading: str) -> Iterator[str]:
    """Yield heading, signature and docstring."""
    yield from (f"{heading} `{name}`", "")
    if (signature := _signature(item)) is not None:
        yield from ("```python", signature.replace("'", '"'), "```", "")
    yield from _text(item)


def _signature(item: griffe.Object) -> str | None:
    """Return how a function is called, or what the fields of a data class are; None for classes that others create."""
    if isinstance(item, griffe.Class):
        initializer = item.all_members.get("__init__")
        if "dataclass" not in item.labels or not isinstance(initializer, griffe.Function):
            return None
        fields = [_parameter(parameter) for parameter in list(initializer.parameters)[1:]]
        return "\n".join([f"class {item.name}:", *(f"    {field}" for field in fields)])
    assert isinstance(item, griffe.Function)
    method = item.parent is not None and item.parent.is_class and "staticmethod" not in item.labels
    written: list[str] = []
    for parameter in list(item.parameters)[1 if method else 0 :]:
        if parameter.kind is griffe.ParameterKind.keyword_only and not any(name.startswith("*") for name in written):
            written.append("*")
        written.append(_parameter(parameter))
    decorators = [f"@{label}\n" for label in ("classmethod", "staticmethod") if label in item.labels]
    end = f") -> {item.returns}: ..."
    one_line = f"def {item.name}({', '.join(written)}{end}"
    several = "\n".join([f"def {item.name}(", *(f"    {parameter}," for parameter in written), end])
    return "".join(decorators) + (one_line if len(one_line) <= 88 else several)


def _parameter(parameter: griffe.Parameter) -> str:
    stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}
    default = "" if parameter.default is None or parameter.kind in stars else f" = {_value(parameter.default)}"
    return f"{stars.get(parameter.kind, '')}{parameter.name}: {parameter.annotation}{default}"


def _value(default: str | griffe.Expr) -> str | griffe.Expr:
    """Return a default; the value of a constant instead of its name."""
    if isinstance(default, griffe.ExprName) and default.name.isupper() and isinstance(default.parent, griffe.Object):
        constant = default.parent.modules_collection[default.canonical_path]
        return _value(constant.value)
    return default


def _text(item: griffe.Object) -> Iterator[str]:
    """Yield a docstring as Markdown."""
    if item.docstring is None:
        return
    for section in item.docstring.parse("google", warnings=False):
        if section.kind is griffe.DocstringSectionKind.text:
            yield from (section.value, "")
        elif section.kind is griffe.DocstringSectionKind.admonition:
            yield from (f"**{section.title}** {section.value.description}", "")
        elif section.kind in (griffe.DocstringSectionKind.returns, griffe.DocstringSectionKind.yields):
            word = section.kind.value.capitalize()
            yield from (f"{word}: " + " ".join(" ".join(value.description.split()) for value in section.value), "")
        else:
            arguments = section.kind is griffe.DocstringSectionKind.parameters
            yield from (f"{'Arguments' if arguments else section.kind.value.title()}:", "")
            yield from (f"* {_label(value)}: {' '.join(value.description.split())}" for value in section.value)
            yield ""


def _label(value: griffe.DocstringElement) -> str:
    """Return the name and the type of an argument, attribute or error."""
    name = getattr(value, "name", None)
    if name is None:
        return f"`{value.annotation}`"
    if name.endswith(","):  # "fx, fy: Focal lengths." describes two attributes
        return f"`{name[:-1]}`, `{value.annotation}`"
    return f"`{name}` (`{value.annotation}`)" if value.annotation else f"`{name}`"


def api_page(text: str) -> str:
    """Return the page of the Python API with its references written again."""
    package = griffe.load("handpose", search_paths=[DOCS.parent], docstring_parser="google")
    assert isinstance(package, griffe.Module)

    def fill(match: re.Match[str]) -> str:
        return f"<!-- reference: {match.group(1)} -->\n\n{describe(match.group(1), package).rstrip()}\n\n{END}"

    return re.sub(rf"<!-- reference: (\w+) -->(?:(?:(?!<!-- reference).)*?{END})?", fill, text, flags=re.S)


def cli_page(text: str) -> str:
    """Return the page of the command line with its reference, which Typer writes, written again."""
    command = [sys.executable, "-m", "typer", "handpose.cli.main", "utils", "docs", "--name", "handpose"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=DOCS.parent)
    commands = done.stdout.split("\n## ", 1)[1]
    return f"{text.partition('<!-- reference -->')[0]}<!-- reference -->\n\n## {commands.rstrip()}\n"


PAGES = {"api.md": api_page, "cli.md": cli_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        path = DOCS / name
        path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")

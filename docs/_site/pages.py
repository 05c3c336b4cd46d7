"""Pages of the site that are made from elsewhere: the reference from the docstrings, and the files at the root."""

from __future__ import annotations

import re
from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).resolve().parents[2]
#: files at the root that are pages of the site
COPIED = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
}
#: folders at the root that are packages of diadbench, in the order of the reference
PACKAGES = ("methods", "datasets", "benchmark", "reports")
#: guides whose pictures are artefacts, with the head of their part of the gallery
PICTURED = {
    "reports.md": "A report: page, workbook, LaTeX, figures",
    "diad.md": "DiAD, step by step",
    "architecture.md": "The code",
}


def main() -> None:
    """Write all made pages."""
    for name, page in COPIED.items():
        _write(page, (ROOT / name).read_text(encoding="utf-8"), edit=name)
    _write("gallery.md", gallery())
    nav = mkdocs_gen_files.Nav()
    _module(("diadbench",), ROOT / "diadbench/api.py", "diadbench.api", nav)
    _module(("diadbench", "common"), ROOT / "diadbench/common/__init__.py", "diadbench.common", nav)
    for path in sorted((ROOT / "diadbench/common").rglob("*.py")):
        _file(path, path.relative_to(ROOT).with_suffix(""), nav)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            _file(path, Path("diadbench", path.relative_to(ROOT)).with_suffix(""), nav)
    _write("reference/NAV.md", "".join(nav.build_literate_nav()))


def gallery() -> str:
    """Return the gallery: the pictures of the guides with their captions, each leading to its file."""
    parts = ["# Gallery", "What comes out of the runner and of `make demo`. A click shows the whole picture."]
    for guide, head in PICTURED.items():
        text = (ROOT / "docs" / guide).read_text(encoding="utf-8")
        figures = [
            f"<figure markdown>\n[![{caption}]({path})]({path})\n<figcaption>{caption}</figcaption>\n</figure>"
            for caption, path in re.findall(r"!\[([^\]]+)\]\((pictures/[^)]+)\)", text)
        ]
        parts += [
            f"## {head}",
            f"From [{guide.removesuffix('.md')}]({guide}).",
            '<div class="gallery" markdown>',
            *figures,
            "</div>",
        ]
    return "\n\n".join(parts) + "\n"


def _file(path: Path, dotted: Path, nav: mkdocs_gen_files.Nav) -> None:
    parts = dotted.parts[:-1] if dotted.name == "__init__" else dotted.parts
    if dotted.name != "__main__":
        _module(parts, path, ".".join(parts), nav)


def _module(parts: tuple[str, ...], path: Path, module: str, nav: mkdocs_gen_files.Nav) -> None:
    folder = path.name in ("__init__.py", "api.py")
    page = Path(*parts[1:], "index.md") if folder else Path(*parts[1:]).with_suffix(".md")
    nav[parts] = page.as_posix()
    _write(
        f"reference/{page.as_posix()}",
        f"---\ntitle: {parts[-1]}\n---\n\n::: {module}\n",
        edit=str(path.relative_to(ROOT)),
    )


def _write(page: str, text: str, edit: str = "") -> None:
    with mkdocs_gen_files.open(page, "w", encoding="utf-8") as file:
        file.write(text)
    if edit:
        mkdocs_gen_files.set_edit_path(page, f"../{edit}")


main()

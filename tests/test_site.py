"""The site builds without a warning, each link in it leads somewhere, and each public object is in its reference."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmark", "datasets", "methods", "reports")


class Links(HTMLParser):
    """Collects where a page leads and which anchors it has."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := values.get(key))}
        self.found += [value for key in ("href", "src") if (value := values.get(key))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "DISABLE_MKDOCS_2_WARNING": "true", "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


@pytest.mark.slow
def test_every_link_leads_somewhere(site: Path) -> None:
    pages = {path: Links() for path in site.rglob("*.html")}
    for path, page in pages.items():
        page.feed(path.read_text(encoding="utf-8"))
    broken = [
        f"{path.relative_to(site)}: {link}"
        for path, page in pages.items()
        for link in page.found
        if path.name != "404.html" and not leads_somewhere(link, path, pages)
    ]
    assert len(pages) > 100
    assert broken == []


@pytest.mark.slow
def test_no_page_asks_another_host(site: Path) -> None:
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]* src=[\"']?(https?://[^\"' >]+)|<link rel=.?stylesheet[^>]* href=.?(https?:)"
    )
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not loaded.search(text), path
        assert 'data-md-component="source"' not in text, f"{path}: asks api.github.com for stars"


def leads_somewhere(link: str, page: Path, pages: dict[Path, Links]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True  # another host: nothing is fetched here
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    target = target / "index.html" if target.is_dir() else target
    if target not in pages:
        return target.is_file()
    return (
        not parts.fragment or parts.fragment in ("", "__codelineno") or unquote(parts.fragment) in pages[target].anchors
    )


@pytest.mark.slow
def test_every_public_object_is_in_the_reference(site: Path) -> None:
    anchors: set[str] = set()
    for path in (site / "reference").rglob("*.html"):
        links = Links()
        links.feed(path.read_text(encoding="utf-8"))
        anchors |= links.anchors
    missing = [name for name in public_objects() if name not in anchors]
    assert missing == []


def public_objects() -> list[str]:
    """Full names of the public classes and functions of all modules, read from their source."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(("diadbench", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                    found.append(f"{module}.{node.name}")
    assert len(found) > 500
    return found

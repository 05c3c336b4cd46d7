"""Links of the guides to files of the repository: on the site they go to GitHub, in an editor they open the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\((?:\.\./)?((?!https?:|#|mailto:)[^)#\s]+)(#[^)]*)?\)")
#: pages of the site that lie elsewhere in the repository
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Rewrite links to files outside ``docs/``; a link to a file that isn't there is left for the strict check."""

    def rewritten(match: re.Match[str]) -> str:
        path, anchor = match[1], match[2] or ""
        if path in PAGES:
            return f"]({PAGES[path]}{anchor})"
        if path.startswith("docs/"):
            return f"]({path.removeprefix('docs/')}{anchor})"
        if not (ROOT / "docs" / path).exists() and (ROOT / path).exists():
            return f"]({config.repo_url}/blob/main/{path}{anchor})"
        return match[0]

    if page.file.src_uri.startswith("reference/"):
        return markdown
    return LINK.sub(rewritten, markdown)

"""Generate the part of ``docs/datasets.md`` that states the facts of each dataset."""

from __future__ import annotations

from diadbench.datasets.checking.describe import count_table, guides, options
from diadbench.datasets.facts.known_sets import CATALOG


def markdown() -> str:
    """Return the part of ``docs/datasets.md`` with one section per dataset; a test compares the two."""
    made = [name for name in CATALOG if name not in guides()]
    return "\n".join([*(_section(name) for name in guides()), *(_short_section(name) for name in made)])


def _short_section(name: str) -> str:
    known = CATALOG[name].info
    return "\n".join([f"## {known.title}: `{name}`", "", known.summary, "", *_option_lines(name), ""])


def _option_lines(name: str) -> list[str]:
    return ["Options:", "", *(f"- `{option}`: {about}" for option, about in options(name))]


def _section(name: str) -> str:
    info, guide = CATALOG[name].info, guides()[name]
    lines = [f"## {info.title}: `{name}`", "", info.summary, ""]
    lines += [f"- Home page: <{info.homepage}>", f"- Licence: {info.licence}", f"- Cite: `{info.cite}`"]
    lines += [f"- How to get it: {guide['get']}", "", "```text", guide["folder"].rstrip(), "```", ""]
    counts = count_table(name)
    if counts:
        lines += ["Published counts:", "", "```text", *counts, "```", ""]
    lines += [*_option_lines(name), ""]
    if guide["traps"]:
        lines += ["Traps, and what is done about them:", "", *(f"- {trap}" for trap in guide["traps"]), ""]
    return "\n".join(lines)

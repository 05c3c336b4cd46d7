"""The templates of this room, and a page made of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined


def template(name: str) -> str:
    """Return the text of a file in this room's templates."""
    return (files("diadbench.reports") / "page" / "templates" / name).read_text(encoding="utf-8")


def rendered(load: Callable[[str], str], name: str, context: Mapping[str, Any]) -> str:
    """Return a page made of a template; what is put into it is escaped.

    Args:
        load: Returns the text of a template.
        name: The template.
        context: What it shows; a name that is missing is an error.
    """
    environment = Environment(
        loader=FunctionLoader(load),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(context)

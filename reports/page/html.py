"""``index.html``: one self-contained page that needs no network and no server."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from PIL import Image

from diadbench.common.files import write_text
from diadbench.reports.figures.draw import Drawn
from diadbench.reports.page.page_tables import (
    cost_rows,
    failure_rows,
    metric_head,
    published_rows,
    summary_table,
    threshold_tables,
    versus_rows,
)
from diadbench.reports.page.page_templates import rendered, template
from diadbench.reports.page.script_data import data_of
from diadbench.reports.tables.costs import COSTS, cost_notes, provenance
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.labels import MAIN, Metric
from diadbench.reports.tables.rows.result_rows import records
from diadbench.reports.tables.rows.unfinished_rows import waiting
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.table_builder import ours_of
from diadbench.reports.tables.verdicts import reasons
from diadbench.version import __version__

Figures = Mapping[str, Drawn]


def page_context(
    source: Source, versus: pd.DataFrame, published: pd.DataFrame, *, lean: bool = False
) -> dict[str, Any]:
    """Return all that the page shows, but for the figures.

    Args:
        source: The results.
        versus: What :func:`diadbench.reports.versus` returns, or nothing.
        published: Published figures beside the results, or nothing.
        lean: Leave the images of cells out, which cost most.
    """
    ours = ours_of(source.results, source.show)
    return {
        **_head(source),
        "summary": summary_table(source),
        "failures": failure_rows(source, ours),
        "problems": records(source.problems),
        "versus": versus_rows(versus, source.show.digits, ours),
        "versus_notes": reasons(records(versus[versus["pairs"] > 0])) if len(versus) else [],
        "baseline": str(versus["baseline"].iloc[0]) if len(versus) else "",
        "published": published_rows(published, source.show.digits),
        "published_all": len(published),
        "published_heads": [metric_head(Metric(key)) for key in MAIN],
        "cost": cost_rows(source, ours),
        "cost_heads": [column.head for column in COSTS],
        "cost_notes": cost_notes(source.facts),
        **threshold_tables(source),
        "environments": [(clean(name), provenance(run.environment)) for name, run in zip(source.names, source.runs)],
        "data": data_of(source, lean=lean),
        "growing": None,
        "css": Markup(template("report.css")),
        "js": Markup(template("shared.js") + template("report.js")),
        "version": __version__,
    }


def write_page(source: Source, path: Path, context: Mapping[str, Any], figures: Figures) -> Path:
    """Write the page of a report, from what :func:`page_context` gave; return its path."""
    context = {**context, "figures": _figures(source, figures)}
    context["sections"] = _sections(context)
    write_text(path, rendered(template, "index.html.j2", context))
    return path


def _sections(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    every = {
        "failures": "Failures",
        "summary": "Summary",
        "classes": "By class",
        "versus": "Versus",
        "published": "Published",
        "thresholds": "Thresholds",
        "cost": "Cost",
        "figures": "Figures",
        "provenance": "Provenance",
    }
    return [(key, name) for key, name in every.items() if context.get(key, True) or key == "failures"]


def _head(source: Source) -> dict[str, Any]:
    facts, wait = source.facts, waiting(source.raw, source.results, source.runs)
    shown = facts[facts["protocol"].isin(source.results["protocol"])]
    return {
        "title": source.title,
        "methods": source.methods,
        "datasets": source.datasets,
        "cells_done": int((facts["state"] == "done").sum()),
        "cells_all": len(facts) + wait,
        "cells_wait": wait + int((facts["state"] == "waiting").sum()),
        "protocols": _whole(text for text in dict.fromkeys(shown.get("evaluation", [])) if text),
    }


def _whole(texts: Iterable[str]) -> list[str]:
    """Return texts without those that begin another: a cell that has no figures doesn't say at which size."""
    every = list(texts)
    return [text for text in every if not any(other.startswith(f"{text} ") for other in every)]


def _figures(source: Source, figures: Figures) -> list[tuple[str, list[dict[str, Any]]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, drawn in figures.items():
        what = drawn.what
        png = next((path for path in drawn.files if path.suffix == ".png"), None)
        if png is None:
            continue
        with Image.open(png) as image:
            width, height = image.size
            source_text = _webp(image)
        group = next((d for d in source.datasets if what.startswith(f"{d}: ")), "All datasets")
        groups.setdefault(group, []).append(
            {
                "name": name,
                "what": what,
                "caption": drawn.caption,
                "src": source_text,
                "width": round(width * 0.7),
                "height": round(height * 0.7),
            }
        )
    return list(groups.items())


def _webp(image: Image.Image) -> str:
    """Return a figure as a third of its PNG: a drawing without any loss, photographs with that of a JPEG."""
    pixels = image.convert("RGB")
    drawn = pixels.getcolors(1 << 14) is not None
    stream = io.BytesIO()
    pixels.save(stream, "WEBP", lossless=drawn, quality=30 if drawn else 82, method=2)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()

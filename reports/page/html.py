"""``index.html``: one self-contained page that needs no network and no server."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from diadbench.benchmark.records.store import CellRecord
from diadbench.common.files import write_text
from diadbench.common.heatmap import level, overlay, paint
from diadbench.reports.figures.draw import Drawn
from diadbench.reports.figures.gallery import Choice, Picture, choose, gallery_of, scale
from diadbench.reports.figures.look import Look
from diadbench.reports.published.comparable import disagreements
from diadbench.reports.published.literature import check_published
from diadbench.reports.tables.costs import COSTS, HEADS, cost, cost_notes, failures, provenance
from diadbench.reports.tables.cut import Entry, marks_text, ours_of
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.frame import printed, records
from diadbench.reports.tables.labels import MAIN, Metric, known_metrics, legend
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.threshold_table import (
    EXPLANATION,
    POOLED,
    POOLED_EXPLANATION,
    THRESHOLDS,
    Figure,
    pooled_rows,
    threshold_notes,
    threshold_rows,
)
from diadbench.reports.tables.verdicts import MARKS, effect_text, mark, reasons
from diadbench.version import __version__

#: maximum number of images of all methods together; with many methods each shows fewer
ALL_SHOTS = 720
THUMB, SHOTS, LOG_LINES, LOG_CHARS = 128, 12, 40, 6000
Figures = Mapping[str, Drawn]


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
        "summary": _summary(source),
        "failures": _failures(source, ours),
        "problems": records(source.problems),
        "versus": _versus(versus, source.show.digits, ours),
        "versus_notes": reasons(records(versus[versus["pairs"] > 0])) if len(versus) else [],
        "baseline": str(versus["baseline"].iloc[0]) if len(versus) else "",
        "published": _published(published, source.show.digits),
        "published_all": len(published),
        "published_heads": [_metric(Metric(key)) for key in MAIN],
        "cost": _cost(source, ours),
        "cost_heads": [column.head for column in COSTS],
        "cost_notes": cost_notes(source.facts),
        **_thresholds(source),
        "environments": [(clean(name), provenance(run.environment)) for name, run in zip(source.names, source.runs)],
        "data": _data(source, lean=lean),
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
    facts = source.facts
    shown = facts[facts["protocol"].isin(source.results["protocol"])]
    return {
        "title": source.title,
        "methods": source.methods,
        "datasets": source.datasets,
        "cells_done": int((facts["state"] == "done").sum()),
        "cells_all": len(facts),
        "protocols": [text for text in dict.fromkeys(shown.get("evaluation", [])) if text],
    }


def _key(source: Source, dataset: str, method: str) -> str:
    """Return a short key of a (dataset, method) for the page's data."""
    return f"{source.datasets.index(dataset)}-{source.methods.index(method)}"


def _metric(metric: Metric) -> dict[str, str]:
    return {"key": metric.key, "base": metric.base, "level": metric.level, "text": metric.text}


def _summary(source: Source) -> dict[str, Any]:
    results = source.results
    if (results["metric"] == "").all():
        return {"caption": "No cell has results.", "heads": [], "rows": [], "notes": []}
    found = known_metrics([key for key in results["metric"].unique() if key])
    metrics = [key for key in (*MAIN, *(k for k in found if k not in MAIN)) if key in found]
    table = source.cut(rows=["dataset", "method"], columns=["metric"], metrics=metrics, name="summary")
    places = {name: position for position, name in enumerate(source.methods)}
    rows = []
    for start, (dataset, method), entries in zip(table.block, table.rows, table.entries):
        rows.append(
            {
                "d": source.datasets.index(dataset.text),
                "m": -1 if method.published else places[method.text],
                "key": "" if method.published else _key(source, dataset.text, method.text),
                "kind": "published" if method.published else "ours" if method.ours else "",
                "start": start,
                "dataset": dataset.text,
                "dataset_marks": marks_text(dataset.marks),
                "method": method.text,
                "marks": marks_text(method.marks),
                "entries": [_shown(entry) for entry in entries],
            }
        )
    return {
        "caption": " ".join(
            filter(
                None,
                [
                    legend(),
                    table.seeds_text(),
                    "Choose a method or a figure for its classes, images, log and configuration.",
                ],
            )
        ),
        "heads": [_metric(column[0].metric) for column in table.columns if column[0].metric],
        "rows": rows,
        "notes": table.notes,
    }


def _shown(entry: Entry) -> dict[str, Any]:
    value = "" if math.isnan(entry.value) or entry.hole else f"{entry.value:.6g}"
    return {
        "text": entry.text,
        "spread": entry.spread,
        "rank": entry.rank,
        "v": value,
        "marks": marks_text(entry.marks),
    }


def _thresholds(source: Source) -> dict[str, Any]:
    """Return what thresholds do, and all classes as one set: heads, and rows as texts."""
    digits = source.show.digits
    table, pooled = threshold_rows(source), pooled_rows(source)
    return {
        "thresholds": _texts(table, ("dataset", "method", "level", "rule"), THRESHOLDS, digits),
        "threshold_heads": [figure.head for figure in THRESHOLDS],
        "threshold_notes": [EXPLANATION, *threshold_notes(source)],
        "pooled": _texts(pooled, ("dataset", "method", "metric"), POOLED, digits),
        "pooled_heads": [figure.head for figure in POOLED],
        "pooled_note": POOLED_EXPLANATION,
    }


def _texts(table: pd.DataFrame, names: tuple[str, ...], figures: tuple[Figure, ...], digits: int) -> list[Any]:
    def text(row: Mapping[str, Any], figure: Figure) -> str:
        value = float(row[figure.key])
        return "–" if math.isnan(value) else f"{100 * value:{'+' if figure.key == 'difference' else ''}.{digits}f}"

    return [
        {"names": [clean(row[name]) for name in names], "figures": [text(row, figure) for figure in figures]}
        for row in records(table)
    ]


def _failures(source: Source, ours: set[str]) -> list[dict[str, Any]]:
    rows = records(failures(source.facts))
    keys = [_key(source, row["dataset"], row["method"]) for row in rows]
    return [{**row, "key": key, "ours": row["method"] in ours} for row, key in zip(rows, keys)]


def _versus(table: pd.DataFrame, digits: int, ours: set[str]) -> list[dict[str, Any]]:
    rows = []
    for row in records(table[table["pairs"] > 0]) if len(table) else []:
        rows.append(
            {
                **row,
                "ours": row["method"] in ours,
                "metric": Metric(row["metric"]).text,
                "v": f"{row['difference']:.6g}",
                "difference": f"{100 * row['difference']:+.{digits}f}",
                "interval": "–" if math.isnan(row["low"]) else _interval(row, digits),
                "record": f"{row['wins']}/{row['ties']}/{row['losses']}",
                "effect_v": f"{row['effect']:.6g}",
                "effect": effect_text(row["effect"]),
                "p": f"{row['p_holm']:.6g}",
                "p_text": "<0.001" if row["p_holm"] < 0.0005 else f"{row['p_holm']:.3f}",
                "mark": mark(row),
                "means": MARKS[mark(row)][2:],
            }
        )
    return rows


def _interval(row: Mapping[str, Any], digits: int) -> str:
    return f"[{100 * row['low']:+.{digits}f}, {100 * row['high']:+.{digits}f}]"


def _others(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Return for each published row what other sources print against it."""
    found = disagreements(rows)
    return [[found[place]] if place in found else [] for place in range(len(rows))]


def _published(table: pd.DataFrame, digits: int) -> list[dict[str, Any]]:
    shown = table[table["here"]] if len(table) else table
    rows: list[dict[str, Any]] = []
    if not len(shown):
        return rows
    shown = shown.assign(order=shown["ours"] == "").sort_values(["dataset", "order", "method"], kind="stable")
    others = dict(zip(shown.index, _others(records(shown))))
    for (dataset, method), group in shown.groupby(["dataset", "method"], sort=False):
        for place, row in zip(group.index, records(group)):
            problems = [f"Arithmetic: {problem}" for problem in check_published(row)] + others[place]
            rows.append(
                {
                    "ours": False,
                    "dataset": dataset,
                    "method": method,
                    "source": row["source"],
                    "epochs": "–" if math.isnan(row["epochs"]) else int(row["epochs"]),
                    "figures": [_decimals(row[key], min(1, digits)) for key in MAIN],
                    "note": "; ".join(filter(None, [row["note"], *problems])),
                }
            )
        first = group.iloc[0]
        if first["ours"]:
            figures = [_decimals(float(first[f"{key}_ours"]), digits) for key in MAIN]
            rows.append({"ours": True, "dataset": first["our_dataset"], "method": first["ours"], "source": "this run",
                         "epochs": "", "figures": figures, "note": ""})  # fmt: skip
    return rows


def _decimals(value: float, digits: int) -> str:
    return printed(value / 100, digits)


def _cost(source: Source, ours: set[str]) -> list[dict[str, Any]]:
    rows = []
    for row in records(cost(source.facts)):
        values = [(row[column.key], column.digits or 0) for column in COSTS]
        figures = [("nan", "–") if math.isnan(v) else (f"{v:.6g}", f"{v:.{digits}f}") for v, digits in values]
        names = {"dataset": row["dataset"], "method": row["method"], "ours": row["method"] in ours}
        rows.append({**names, "figures": figures})
    return rows


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


def _data(source: Source, *, lean: bool) -> dict[str, Any]:
    """Return what the page's script needs: tables by class, and every cell in full."""
    cells = _cells(source, lean=lean)
    pictures: dict[str, int] = {}  # each once: an image and its truth are the same for all methods
    for shot in (shot for cell in cells.values() for shot in cell["shots"]):
        shot["images"] = [(what, pictures.setdefault(image, len(pictures))) for what, image in shot["images"] if image]
    return {
        "colours": [style.colour for style in Look.of(source).styles.values()],
        "classes": [_classes(source, dataset) for dataset in source.datasets],
        "cells": cells,
        "pictures": list(pictures),
    }


def _classes(source: Source, dataset: str) -> dict[str, Any] | None:
    rows = source.results[source.results["dataset"] == dataset]
    metrics = known_metrics([key for key in rows["metric"].unique() if key])
    if not metrics:
        return None
    table = source.cut(dataset=dataset, rows=["metric", "method"], columns=["class"], metrics=metrics)
    values: dict[str, list[dict[str, Any]]] = {}
    for (metric, method), entries in zip(table.rows, table.entries):
        if metric.metric is None:
            continue
        shown = [[e.text, e.spread, e.rank, None if math.isnan(e.value) else round(e.value, 6)] for e in entries]
        line = {
            "method": method.text,
            "key": _key(source, dataset, method.text),
            "m": source.methods.index(method.text),
            "ours": method.ours,
            "entries": shown,
        }
        values.setdefault(metric.metric.key, []).append(line)
    return {
        "name": dataset,
        "classes": [column[0].text for column in table.columns],
        "metrics": [_metric(Metric(key, mean=False)) for key in metrics],
        "values": values,
        "seeds": table.seeds_text(),
    }


def _cells(source: Source, *, lean: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    most = max(1, min(SHOTS, ALL_SHOTS // max(len(source.datasets) * len(source.methods), 1)))
    shots = {dataset: {} if lean else _shots(source, dataset, most) for dataset in source.datasets}
    for row in records(source.facts):
        key = _key(source, row["dataset"], row["method"])
        cell = found.setdefault(
            key,
            {
                "dataset": row["dataset"],
                "method": row["method"],
                "d": source.datasets.index(row["dataset"]),
                "shots": shots[row["dataset"]].get(row["method"], []),
                "seeds": [],
            },
        )
        cell["seeds"].append(_seed(row, with_config=not cell["seeds"] or row["state"] != "done"))
    return found


def _seed(row: Mapping[str, Any], *, with_config: bool) -> dict[str, Any]:
    """Return a cell in full. Only what failed shows its log: thousands of logs are most of a page."""
    record: CellRecord = row["cell"]
    facts = [("run", row["run"]), ("setting", row["setting"]), ("protocol", row["evaluation"])]
    for key in ("fit", "model", "testing", "images_per_second", "load", "cells", "n_train", "n_test"):
        if not math.isnan(row[key]):
            facts.append((HEADS[key], f"{row[key]:.4g}"))
    facts += [(key, row[key]) for key in ("notes", "identity", "fingerprint") if row[key]]
    return {
        "seed": row["seed"],
        "state": row["state"],
        "reason": row["reason"],
        "facts": facts,
        "traceback": _tail(row["traceback"]),
        "log": _log(record) if row["state"] != "done" else "",
        "config": _config(record) if with_config else "",
    }


def _config(record: CellRecord) -> str:
    try:
        lines = (record.directory / "cell.yaml").read_text(encoding="utf-8", errors="replace")[:LOG_CHARS].split("\n")
        return "\n".join(_line(line) for line in lines)
    except OSError:
        return ""


def _line(text: str) -> str:
    """Return a line without control characters, its indentation kept."""
    return " " * (len(text) - len(text.lstrip(" "))) + clean(text)


def _log(record: CellRecord) -> str:
    try:
        with open(record.directory / "log.txt", "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4 * LOG_CHARS))
            return _tail(file.read().decode("utf-8", "replace"))
    except OSError:
        return ""


def _tail(text: str) -> str:
    """Return the last lines of a text, without control characters; a rewritten line has its last state."""
    lines = [line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")][-LOG_LINES:]
    return "\n".join(_line(line) for line in lines)[-LOG_CHARS:]


def _shots(source: Source, dataset: str, most: int = SHOTS) -> dict[str, list[dict[str, Any]]]:
    """Return, for each method, the chosen images of a dataset as small JPEGs."""
    gallery = gallery_of(source, dataset)
    chosen = _few(choose(gallery), most)
    bases: dict[int, list[tuple[str, str]]] = {}
    shown: dict[int, Any] = {}  # an image is the same in every method's gallery
    found: dict[str, list[dict[str, Any]]] = {}
    for method, pictures in gallery.items():
        by_row = {picture.row: picture for picture in pictures}
        low, high = scale(pictures)
        found[method] = []
        for choice in chosen:
            picture = by_row[choice.row]
            if choice.row not in bases:
                shown[choice.row] = picture.image
                bases[choice.row] = [("image", _jpeg(picture.image)), ("ground truth", _truth(picture))]
            images = [*bases[choice.row]]
            heat, rebuilt = picture.maps()
            if heat is not None:
                painted = paint(heat, low, high)
                images.append(("anomaly map", _jpeg(painted)))
                if painted.shape == shown[choice.row].shape:
                    opacity = 0.65 * level(heat, low, high)  # The image is visible where the map is low.
                    images.append(("overlay", _jpeg(overlay(shown[choice.row], painted, opacity))))
            if rebuilt is not None:
                images.append(("reconstruction", _jpeg(rebuilt)))
            texts = {key: clean(getattr(picture, key)) for key in ("name", "kind", "defect")}
            found[method].append({**texts, "why": choice.why, "score": f"{picture.score:.4g}", "images": images})
    return found


def _few(chosen: list[Choice], most: int) -> list[Choice]:
    """Limit the page's size: with many classes, use only each class's median, and at most ``most`` of them."""
    if len(chosen) <= most:
        return chosen
    medians = [choice for choice in chosen if choice.why in ("median", "only")] or chosen
    step = -(-len(medians) // most)
    return medians[::step]


def _truth(picture: Picture) -> str:
    if picture.mask is None:
        return ""
    return _jpeg(np.repeat((picture.mask[..., None] * 255).astype(np.uint8), 3, axis=2))


def _webp(image: Image.Image) -> str:
    """Return a figure as a third of its PNG: a drawing without any loss, photographs with that of a JPEG."""
    pixels = image.convert("RGB")
    drawn = pixels.getcolors(1 << 14) is not None
    stream = io.BytesIO()
    pixels.save(stream, "WEBP", lossless=drawn, quality=30 if drawn else 82, method=2)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def _jpeg(pixels: Any) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail((THUMB, THUMB))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()

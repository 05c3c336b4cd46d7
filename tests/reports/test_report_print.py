"""Figures as a paper needs them: its widths, text of 8 pt, one style a method, and nothing that covers anything."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from openpyxl import load_workbook

from diadbench.common.errors import UserError
from diadbench.reports import build
from diadbench.reports.figures import behaviour, overview
from diadbench.reports.figures.curve_plots import curves
from diadbench.reports.figures.draw import figures_of, plan
from diadbench.reports.figures.gallery import gallery_of
from diadbench.reports.figures.look import Look
from diadbench.reports.figures.palette import FIXED, LINES, MARKERS, styles, styles_of
from diadbench.reports.figures.qualitative import qualitative, tells_something, with_contour
from diadbench.reports.figures.style import COLUMN, PAGE, SIZE, SMALL, style
from diadbench.reports.figures.tradeoff import TICKS, log_ticks, name_points, pareto
from diadbench.reports.page.html import page_context
from diadbench.reports.tables.costs import cost, unlike
from diadbench.reports.tables.source import Source

ONE = ("bars_i_auroc", "ranks_i_auroc", "heatmap_i_auroc_mvtec", "pareto_mvtec", "curves_mvtec", "histograms_mvtec",
       "training_mvtec", "qualitative_visa")  # fmt: skip


@pytest.fixture(scope="module")
def source(demo: Path) -> Source:
    return Source.load(demo, show={"ours": ["PatchCore"]})


@pytest.fixture(scope="module")
def figures(source: Source) -> dict[str, Figure]:
    """Return one figure of each kind."""
    with style():
        found = {name: one for entry in plan(source) if entry[0] in ONE for name, one in figures_of(entry).items()}
        for figure in found.values():
            figure.draw_without_rendering()
    assert len(found) == len(ONE)
    return found


@pytest.fixture(autouse=True)
def _styled() -> Iterator[None]:
    with style():
        yield


def _texts(figure: Figure) -> list[Text]:
    """Return the texts that are drawn: matplotlib keeps labels of ticks beyond an axis, too."""
    beyond = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [tick for tick in axis.get_major_ticks() if not low - 1e-9 <= tick.get_loc() <= high + 1e-9]
        beyond |= {id(text) for tick in ticks for text in (tick.label1, tick.label2)}
    found = [text for text in figure.findobj(Text) if id(text) not in beyond]
    return [text for text in found if text.get_text().strip() and text.get_visible()]


def test_widths_and_letters_are_those_of_a_paper(figures: dict[str, Figure]) -> None:
    for name, figure in figures.items():
        assert figure.get_figwidth() in (COLUMN, PAGE), name
        sizes = {text.get_fontsize() for text in _texts(figure)}
        assert sizes <= ({SIZE, SMALL} if name.startswith("heatmap") else {SIZE}), name


def test_nothing_is_cut_off_and_no_ticks_touch(figures: dict[str, Figure]) -> None:
    for name, figure in figures.items():
        renderer = FigureCanvasAgg(figure).get_renderer()
        page = figure.bbox
        for text in _texts(figure):
            box = text.get_window_extent(renderer)
            assert box.x0 > page.x0 - 2, (name, text.get_text())
            assert box.x1 < page.x1 + 2, (name, text.get_text())
        for axes in figure.axes:
            low, high = sorted(axes.get_xlim())
            shown = [t for t, at in zip(axes.get_xticklabels(), axes.get_xticks()) if low <= at <= high]
            level = [text for text in shown if text.get_text() and not text.get_rotation()]
            boxes = sorted((text.get_window_extent(renderer) for text in level), key=lambda box: float(box.x0))
            assert all(one.x1 <= two.x0 for one, two in itertools.pairwise(boxes)), (name, axes.get_title())


def test_ours_is_bold_in_every_figure(figures: dict[str, Figure]) -> None:
    for name, figure in figures.items():
        weights = {t.get_fontweight() for t in _texts(figure) if t.get_text().strip().startswith("PatchCore")}
        assert weights == {"bold"} or name.startswith("training"), name
        others = {t.get_fontweight() for t in _texts(figure) if t.get_text().strip().startswith("DRAEM")}
        assert others <= {"normal"}, name


def test_bars_begin_at_zero_or_mark_the_break() -> None:
    def table(low: float) -> pd.DataFrame:
        rows = [("d", name, value, 0.04) for name, value in (("A", 0.99), ("B", low))]
        frame = pd.DataFrame(rows, columns=["dataset", "method", "value", "std"])
        return frame.assign(scope="mean", metric="i_auroc", **{"class": "mean"})

    for low, start in ((0.2, 0.0), (0.85, 70.0)):
        figure = overview.bars(table(low), "i_auroc", Look.plain("A", "B"))
        assert figure is not None
        (axes,) = figure.axes
        assert axes.get_ylim() == (start, 100)
        assert bool([line for line in axes.lines if line.get_gid() == "break"]) == (start > 0)
        assert ("the break is marked" in figure.get_label()) == (start > 0)
        ends = np.concatenate([segment for one in axes.collections for segment in one.get_segments()])  # type: ignore[attr-defined]
        assert ends[:, 1].max() == pytest.approx(100)  # 99 + 4 is cut
        assert ends[:, 1].min() == pytest.approx(100 * low - 4)


def test_the_legend_is_read_in_the_order_of_the_bars(source: Source) -> None:
    figure = overview.bars(source.table, "i_auroc", Look.of(source))
    assert figure is not None
    figure.draw_without_rendering()
    (legend,) = figure.legends
    places = {text.get_text(): text.get_window_extent() for text in legend.get_texts()}
    read = sorted(places, key=lambda name: (-round(places[name].y0), places[name].x0))
    assert read == source.methods


def test_one_colour_a_method_everywhere(demo: Path, figures: dict[str, Figure], source: Source, tmp_path: Path) -> None:
    colours = {method: one.colour for method, one in styles_of(source).items()}
    for line in figures["curves_mvtec"].axes[0].lines:
        assert line.get_color() == colours[str(line.get_label())]
    page = page_context(source, pd.DataFrame(), pd.DataFrame())
    assert page["data"]["colours"] == [colours[method] for method in source.methods]
    book = load_workbook(build(demo, ["xlsx"], tmp_path)["results.xlsx"])
    (chart,) = book["mvtec"]._charts
    filled = [f"#{series.graphicalProperties.solidFill.srgbClr}" for series in chart.series]
    assert filled == [colours[method] for method in source.methods]
    (chart,) = book["Cost"]._charts
    points = [f"#{point.graphicalProperties.solidFill.srgbClr}" for point in chart.series[0].dPt]
    assert points[: len(source.methods)] == [colours[method] for method in source.methods]
    shown = {"names": {"padim": "Ours"}, "methods": ["padim", "DRAEM"], "sort": "mad"}
    other = styles_of(Source.load(demo, show=shown))
    assert {name: one.colour for name, one in other.items()} == {"Ours": colours["padim"], "DRAEM": colours["DRAEM"]}


def test_lines_of_one_marker_are_of_another_kind() -> None:
    """In grey, two methods with the same marker are told apart by their lines."""

    def kind(line: str | tuple[float, tuple[float, ...]]) -> str:
        if isinstance(line, str):
            return "solid"
        return "dash-dot" if len(line[1]) > 2 else "dots" if line[1][0] <= 1 else "dashes"

    seen = [(style.marker, kind(style.line)) for style in styles([*FIXED, *(f"method {n}" for n in range(8))]).values()]
    assert len(set(seen)) == len(seen) == 16


def test_methods_differ_without_colour() -> None:
    found = styles([f"method {number}" for number in range(60)])
    assert len({(one.marker, one.line) for one in found.values()}) == 60
    assert len(MARKERS) * len(LINES) > 100


def _many(count: int, spread: float) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return means and costs of methods that lie close to each other."""
    random = np.random.default_rng(0)
    names = [f"Method number {number}" for number in range(count)]
    table = pd.DataFrame({"dataset": "d", "method": names, "metric": "i_auroc", "scope": "mean"})
    table["value"] = 0.9 + spread * random.random(count)
    costs = pd.DataFrame({"dataset": "d", "method": names, "gpu_gib": np.nan})
    return table, costs.assign(images_per_second=10 ** (3 * random.random(count)), cpu_gib=1.5), names


def test_names_of_points_are_pulled_apart() -> None:
    table, costs, names = _many(12, 0.05)
    figure = pareto(table, costs, "d", "i_auroc", Look.plain(*names))
    assert figure is not None
    figure.draw_without_rendering()
    axes = figure.axes[0]
    texts = [text for text in axes.texts if text.get_gid() == "name"]
    assert [*sorted(text.get_text() for text in texts)] == sorted(names)
    boxes = [Text.get_window_extent(text) for text in texts]
    common = [(a, b) for a, b in itertools.combinations(boxes, 2) if a.x0 < b.x1 - 1 and b.x0 < a.x1 - 1
              and a.y0 < b.y1 - 1 and b.y0 < a.y1 - 1]  # fmt: skip
    assert len(common) == 0
    assert len(figure.legends) == 0


def test_a_line_leads_to_a_name_that_is_nearer_to_another_point() -> None:
    figure = Figure(figsize=(5, 3))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    near = np.random.default_rng(0).random((14, 2)) * (0.12, 1.2)  # and one far away, so that these are close together
    points = pd.DataFrame([*near, (1.0, 9.0)], [f"entry {number}" for number in range(15)], ["x", "y"])
    axes.plot(points["x"], points["y"], "o")
    figure.draw_without_rendering()
    name_points(axes, points, frozenset())
    figure.draw_without_rendering()  # puts the names to their places
    at = axes.transData.transform(points.to_numpy())
    nearer = []
    for text in axes.texts:
        assert isinstance(text, Annotation)
        box = Text.get_window_extent(text)
        gaps = np.hypot(*(np.maximum(np.maximum(box.min - at, at - box.max), 0).T))
        if gaps.min() < gaps[list(points.index).index(text.get_text())] - 1:
            nearer.append(text.arrow_patch is not None)
    assert nearer
    assert all(nearer)


def test_no_name_lies_on_the_line_of_the_front() -> None:
    table, costs, names = _many(5, 0.0)
    table["value"], costs["images_per_second"] = [0.55, 0.63, 0.77, 0.9, 0.99], [1e4, 1.2e3, 200.0, 40.0, 30.0]
    figure = pareto(table, costs, "d", "i_auroc", Look.plain(*names))
    assert figure is not None
    figure.draw_without_rendering()
    axes = figure.axes[0]
    (front,) = (line for line in axes.lines if line.get_linestyle() == "--")
    at = axes.transData.transform(front.get_xydata())  # of the points; the line goes level, then upright
    lines = [
        line for (x, y), (to_x, to_y) in itertools.pairwise(at) for line in ((x, y, to_x, y), (to_x, y, to_x, to_y))
    ]
    names_there = [text for text in axes.texts if text.get_gid() == "name"]
    assert len(at) == len(names_there) == 5
    for text in names_there:
        box = Text.get_window_extent(text)
        for x0, y0, x1, y1 in lines:
            assert not (box.x0 < x1 and x0 < box.x1 and box.y0 < y1 and y0 < box.y1), text.get_text()


@pytest.mark.parametrize(("low", "high"), [(0.06, 0.4), (1, 9), (3, 900), (0.001, 1e6), (90, 520)])
def test_few_ticks_of_round_numbers(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert 1 <= len(ticks) <= TICKS
    assert all(low < tick < high for tick in ticks)


def test_costs_under_another_load_are_hollow_and_said(source: Source) -> None:
    facts = source.facts.copy()
    facts["cells"], facts["load"], facts["cores"] = 1.0, 1.0, 8.0
    assert unlike(facts) == {}
    busy = (facts["method"] == "DRAEM") & (facts["dataset"] == "mvtec")
    facts.loc[busy, "cells"] = 4.0
    assert unlike(facts) == {("mvtec", "DRAEM"): "with 4.0 cells at once, the others with 1.0"}
    why = {"DRAEM": unlike(facts)["mvtec", "DRAEM"]}
    figure = pareto(source.table, cost(facts), "mvtec", "i_auroc", Look.of(source), "", why)
    assert figure is not None
    marks = {str(line.get_gid()): line.get_markerfacecolor() for line in figure.axes[0].lines if line.get_gid()}
    assert [name for name, colour in marks.items() if colour == "white"] == ["point DRAEM"]
    said = "Hollow: measured under another load: DRAEM with 4.0 cells at once, the others with 1.0."
    assert said in figure.get_label()


def test_notes_above_a_plot_do_not_flatten_it(source: Source) -> None:
    facts = source.facts.assign(cells=1.0, load=1.0, cores=8.0)
    names = source.table["method"].unique()
    why = {name: f"with {load}.0 cells at once, the others with 1.0" for load, name in enumerate(names, 2)}
    heights = []
    for hollow in ({}, why):
        figure = pareto(source.table, cost(facts), "mvtec", "i_auroc", Look.of(source), "", hollow)
        assert figure is not None
        figure.draw_without_rendering()
        heights.append(figure.axes[0].get_position().height * figure.get_figheight())
    assert figure.get_label().count("the others") == 1
    assert heights[1] > 0.9 * heights[0]


def test_histograms_have_axes_and_panels_fill_their_lines(figures: dict[str, Figure]) -> None:
    figure = figures["histograms_mvtec"]
    assert len(figure.axes) == 5
    assert all(len(axes.get_yticks()) > 1 and len(axes.get_xticks()) == 3 for axes in figure.axes)
    right = {round(axes.get_position().y0, 2): axes.get_position().x1 for axes in figure.axes}
    assert len(right) == 2
    assert all(edge > 0.97 for edge in right.values())


def test_heads_stand_level_where_they_fit(source: Source) -> None:
    names = {"long": [f"a_class_with_a_long_name_{number}" for number in range(9)], "short": list("abcdefghi")}
    for kind, classes in names.items():
        rows = [("d", method, name, 0.9) for method in "AB" for name in classes]
        table = pd.DataFrame(rows, columns=["dataset", "method", "class", "value"])
        figure = overview.heat_map(table.assign(scope="class", metric="i_auroc"), "d", "i_auroc", Look.plain("A", "B"))
        assert figure is not None
        heads = {label.get_rotation() for label in figure.axes[0].get_xticklabels()}
        names_of = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert heads == {0.0} if kind == "short" else names_of == ["A", "B"] or heads == {40.0}


def _heads(figure: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.axes[0].get_xticklabels()]


def test_a_mean_image_is_no_reconstruction(make_run: Callable[..., Any], tmp_path: Path) -> None:
    """DiAD's stand-in gives the mean image; a blurred copy of each image is what a reader wants."""
    run = make_run(tmp_path / "run", methods=["DiAD", "UniAD"], datasets={"toy": ["a", "b"]}, seeds=[0], images=8)
    source = Source.load(run.path)
    (figure,) = qualitative(source, "toy")
    assert _heads(figure) == ["Image", "Ground truth", "DiAD", "UniAD"]
    assert "Not shown: reconstructions that are the same for all images of a class (DiAD)" in figure.get_label()
    shown = gallery_of(source, "toy")["DiAD"]
    assert not tells_something(shown)
    for picture in shown:  # as a method that rebuilds each image would keep them
        with np.load(picture.file, allow_pickle=False) as arrays:
            kept = dict(arrays)
        np.savez(picture.file, **{**kept, "reconstruction": kept["image"] // 2})
    assert tells_something(shown)
    (figure,) = qualitative(source, "toy")
    assert _heads(figure) == ["Image", "Ground truth", "DiAD", "DiAD reconstruction", "UniAD"]


def test_images_are_chosen(demo: Path) -> None:
    def rows(images: list[str]) -> list[str]:
        (figure, *_) = qualitative(Source.load(demo, show={"images": images}), "elpv")
        return [text.get_text() for text in figure.axes[0].get_yticklabels()]

    assert rows([]) == ["mono", "poly"]
    assert rows(["best", "worst"]) == ["mono\nbest", "mono\nworst", "poly\nbest", "poly\nworst"]
    kept = gallery_of(Source.load(demo), "elpv")["DiAD"]
    (wanted,) = [picture.name for picture in kept if picture.name == "poly/test/hole/001.png"]
    assert rows([wanted]) == ["poly"]
    with pytest.raises(UserError, match="images: unknown image"):
        list(plan(Source.load(demo, show={"images": ["poly/test/hole/999.png"]})))


def test_the_contour_lies_around_the_mask() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2:5, 3:6] = True
    drawn = with_contour(np.zeros((64, 64, 3), np.uint8), mask)
    cyan = (drawn == (0, 255, 255)).all(-1)
    inside = np.kron(mask, np.ones((8, 8), bool))
    assert cyan.any()
    assert not cyan[20:36, 28:44].any()
    assert not cyan[np.kron(~mask, np.ones((8, 8), bool)) & (np.indices((64, 64)).sum(0) < 20)].any()
    assert inside.any()


def test_no_titles_when_asked_and_the_captions_are_kept(demo: Path, tmp_path: Path) -> None:
    source = Source.load(demo, show={"titles": False})
    for draw in (curves, behaviour.histograms, behaviour.training):
        figure = draw(source, "elpv")
        assert figure is not None
        assert figure.get_suptitle() == ""
    assert "undefined: ROC, pixels" in str(curves(source, "elpv").get_label())  # type: ignore[union-attr]
    heat = overview.heat_map(source.table, "mvtec", "i_auroc", Look.of(source))
    assert heat is not None
    assert heat.axes[0].get_title() == heat.axes[0].get_title(loc="left") == ""

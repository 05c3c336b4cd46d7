"""One size at which all methods of a grid are evaluated; maps that are kept, and evaluated again. With real cells."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

import diadbench
from diadbench.benchmark.cells.scoring.evaluation_size import at_evaluation_size
from diadbench.benchmark.planning.grid import grid_names, load_grid, parse_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.records.store import RunDirectory
from diadbench.benchmark.reuse.predict import predict_images
from diadbench.benchmark.reuse.reevaluate import evaluate_run
from diadbench.common.errors import UserError
from diadbench.common.half import from_half, loss_of_half, to_half
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.sets.folder import Folder
from diadbench.reports import build
from diadbench.reports.figures.gallery import pictures

pytestmark = pytest.mark.usefixtures("cells_in_this_process", "one_core")
METHOD = f"{Path(__file__).parents[1] / 'helpers' / 'pixel_mean.py'}:PixelMean"
OWN = (24, 20)  # of one of the methods; the images' own is 48 x 60
SIZE = (40, 56)
PIXEL = ["p_auroc", "p_ap", "p_f1max", "aupro"]


def write_data(root: Path) -> Path:
    """Noise with a bright wedge of another place and size in each anomalous image, 48 x 60, in MVTec-AD's layout."""
    generator = np.random.default_rng(0)
    for folder, count in (("train/good", 5), ("test/good", 4), ("test/hole", 5)):
        for place in range(count):
            pixels = generator.integers(90, 130, (48, 60, 3), dtype=np.uint8)
            target = root / "nut" / folder / f"{place:03d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            if folder == "test/hole":
                rows, columns = np.mgrid[:48, :60]
                mask = (abs(rows - 20 - place) + abs(columns - 25 - 2 * place)) < 5 + place
                pixels[mask] = 138
                truth = root / "nut" / "ground_truth" / "hole" / f"{place:03d}_mask.png"
                truth.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask.astype(np.uint8) * 255).save(truth)
            Image.fromarray(pixels).save(target)
    return root


def grid(data: Path, **changes: Any) -> dict[str, Any]:
    methods = {"small": {"method": METHOD, "image_size": list(OWN)}, "large": {"method": METHOD}}
    return {
        "name": "sizes",
        "methods": methods,
        "datasets": {"parts": {"dataset": "folder", "root": str(data)}},
        "image_size": 48,
        "evaluation_size": list(SIZE),
        "keep_maps": "float32",
        "threads": 1,
        "device": "cpu",
        **changes,
    }


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods at two image sizes, evaluated at a third that isn't square."""
    path = tmp_path_factory.mktemp("runs") / "run"
    diadbench.run(grid(data), path)
    return path


@pytest.fixture(scope="module")
def half_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Maps that plain float16 can't hold, kept as float16; and the same maps without gain."""
    path = tmp_path_factory.mktemp("halves") / "half"
    (path.parent / "mine.py").write_text(
        "from diadbench.methods.base import Method, Prediction\nfrom diadbench.methods.info import MethodInfo\n"
        "class Mine(Method):\n    info = MethodInfo(name='mine', title='Mine', summary='brightness')\n"
        "    def __init__(self, gain: float = 1.0, offset: float = 0.0) -> None:\n"
        "        self.gain, self.offset = gain, offset\n"
        "    def fit(self, train, run): pass\n"
        "    def predict(self, images):\n"
        "        maps = images.mean(1) * self.gain + self.offset; return Prediction(maps, maps.amax((1, 2)))\n"
        "    def save(self, directory): (directory / 'x.txt').write_text('x')\n"
        "    def load(self, directory, run): pass\n"
    )
    mine = f"{path.parent / 'mine.py'}:Mine"
    methods = {
        "plain": {"method": mine},
        "large": {"method": mine, "options": {"gain": 200000.0}},
        "offset": {"method": mine, "options": {"offset": 1000.0}},
    }
    diadbench.run(grid(data, methods=methods, evaluation_size=None, keep_maps="float16"), path)
    return path


def figures(run: Path) -> pd.Series[float]:
    table = diadbench.load_results(run)
    return table[table["scope"] == "class"].set_index(["method", "metric"])["value"]


def notes(run: Path, method: str) -> list[str]:
    found: list[str] = RunDirectory(run).cell("parts", method, "multi-class", 0).status["notes"]
    return found


def native_masks(data: Path, size: tuple[int, int], normal: int = 4) -> np.ndarray[Any, Any]:
    """Read the masks from their files and resize them, in the order of the test table: good, then hole."""
    paths = sorted((data / "nut" / "ground_truth" / "hole").glob("*.png"))
    found = [Image.open(path).resize((size[1], size[0]), Image.Resampling.NEAREST) for path in paths]
    return np.stack([np.zeros(size, bool)] * normal + [np.array(mask) > 0 for mask in found])


def resized(image: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Bilinear, corners not aligned, a pixel at a time and by the formula."""
    out = np.zeros(size)
    for y, x in np.ndindex(size):
        at = [max((p + 0.5) * n / s - 0.5, 0.0) for p, n, s in zip((y, x), image.shape, size)]
        first = [int(a) for a in at]
        (v, w) = (a - f for a, f in zip(at, first))
        second = [min(f + 1, n - 1) for f, n in zip(first, image.shape)]
        upper = image[first[0], first[1]] * (1 - w) + image[first[0], second[1]] * w
        lower = image[second[0], first[1]] * (1 - w) + image[second[0], second[1]] * w
        out[y, x] = upper * (1 - v) + lower * v
    return out


def test_all_methods_meet_the_same_masks_and_pictures(run: Path, data: Path) -> None:
    cells = [RunDirectory(run).cell("parts", name, "multi-class", 0) for name in ("small", "large")]
    small, large = (pictures(cell) for cell in cells)
    masks = native_masks(data, SIZE)
    assert len(small) == len(large) == 6
    for one, other in zip(small, large):
        assert one.mask is not None
        assert other.mask is not None
        assert one.heat is not None
        assert other.heat is not None
        place = one.row - 5  # the table starts with five training images
        assert one.mask.shape == one.heat.shape == other.heat.shape == one.image.shape[:2] == SIZE
        assert (one.mask == masks[place]).all()
        assert (other.mask == masks[place]).all()
        assert (one.image == other.image).all()
    shapes = {np.load(cell.directory / "maps" / "0.npy").shape for cell in cells}
    assert shapes == {(9, *SIZE)}


def test_metrics_of_resized_maps_are_those_of_a_naive_computation(run: Path, data: Path) -> None:
    dataset = Folder(data)
    train, test = DataModule(dataset, OWN).part(dataset.parts("multi-class")[0])
    mean = train.images(list(range(5))).double().mean(0).float()
    maps = torch.cat([(batch.image - mean).abs().mean(1) for batch in test.batches(4)]).numpy()
    expected = np.stack([resized(one, SIZE) for one in maps])
    kept = np.load(RunDirectory(run).cell("parts", "small", "multi-class", 0).directory / "maps" / "0.npy")
    np.testing.assert_allclose(kept, expected, rtol=0, atol=1e-6)
    found = diadbench.evaluate(kept, native_masks(data, SIZE))
    for metric in PIXEL:
        assert figures(run)["small", metric] == pytest.approx(found[metric], abs=1e-13)
    naive = diadbench.evaluate(expected, native_masks(data, SIZE))
    assert figures(run)["small", "p_auroc"] == pytest.approx(naive["p_auroc"], abs=1e-4)


def test_notes_and_protocol_state_the_size(run: Path) -> None:
    assert notes(run, "small") == ["runs at 24x20; its maps are resized to 40x56"]
    assert notes(run, "large") == ["runs at 48x48; its maps are resized to 40x56"]
    status = RunDirectory(run).cell("parts", "small", "multi-class", 0).status
    assert status["evaluation_size"] == list(SIZE)
    assert "evaluation_size: 40x56 (height x width)" in status["protocol_text"]


def test_reports_print_the_size_beside_the_protocol(run: Path, tmp_path: Path) -> None:
    build(run, ["html", "xlsx"], tmp_path / "report")
    assert "protocol exact at 40x56" in (tmp_path / "report" / "index.html").read_text()
    sheet = openpyxl.load_workbook(tmp_path / "report" / "results.xlsx")["Provenance"]
    assert "exact at 40x56" in {cell.value for row in sheet.iter_rows() for cell in row}


def test_evaluating_again_gives_the_figures_of_the_run(run: Path, tmp_path: Path) -> None:
    evaluate_run(run, "exact", tmp_path / "again", lambda *_: None)
    pd.testing.assert_series_equal(figures(tmp_path / "again"), figures(run), check_exact=True)
    assert notes(tmp_path / "again", "small")[-1] == "every figure is the run's own"
    evaluate_run(run, "uniad", tmp_path / "uniad", lambda *_: None)
    assert "evaluated at 40x56; the source of protocol uniad evaluates at 224x224" in notes(tmp_path / "uniad", "small")


def test_maps_of_unknown_images_have_the_evaluation_size(run: Path, data: Path, tmp_path: Path) -> None:
    cell = RunDirectory(run).cell("parts", "small", "multi-class", 0).directory
    predict_images(cell, data / "nut" / "test", tmp_path / "out")
    kept = np.load(cell / "maps" / "0.npy")
    np.testing.assert_allclose(np.load(tmp_path / "out" / "maps" / "hole__002.npy"), kept[6], rtol=0, atol=1e-6)


def test_masks_come_from_their_files_and_share_the_cache(data: Path) -> None:
    dataset = Folder(data)
    part = dataset.parts("multi-class")[0]

    def masks(size: tuple[int, int], **options: Any) -> np.ndarray[Any, Any]:
        module = DataModule(dataset, size, **options)
        return torch.cat([batch.mask for batch in module.part(part)[1].batches(4) if batch.mask is not None]).numpy()

    expected = native_masks(data, SIZE)
    assert (masks(OWN, mask_size=SIZE) == expected).all()
    shards = set(DataModule(dataset, SIZE).cache.glob("images/*/meta.json"))
    assert (masks(SIZE) == expected).all()  # as before the two sizes were told apart: the same shard
    made = set(DataModule(dataset, SIZE).cache.glob("images/*/meta.json")) - shards
    assert {json.loads(path.read_text())["dtype"] for path in made} == {"uint8"}
    assert {len(json.loads(path.read_text())["shape"]) for path in made} == {4}  # images alone
    with pytest.raises(UserError, match="mask_size"):
        DataModule(dataset, 32, mask_size=0)


def test_a_size_that_differs_decides_the_configuration(data: Path, tmp_path: Path) -> None:
    def planned(**changes: Any) -> dict[str, dict[str, Any]]:
        plan = make_plan(parse_grid(grid(data, **changes)), RunDirectory(tmp_path / "new", must_exist=False))
        return {each.cell.method.label: each.config for each in plan.cells}

    plain, same = planned(evaluation_size=None), planned(evaluation_size=48)
    assert "evaluation_size" not in plain["large"]["decides"]
    assert plain["large"]["identity"] == same["large"]["identity"]
    assert plain["small"]["evaluation_size"] == [48, 48] == plain["small"]["decides"]["evaluation_size"]
    assert planned(evaluation_size=32)["large"]["configuration"] != plain["large"]["configuration"]


@pytest.mark.parametrize("wrong", [0, -3, [64], [64, 0], [1, 2, 3]])
def test_a_wrong_evaluation_size_is_refused(data: Path, wrong: Any) -> None:
    with pytest.raises(UserError, match=r"evaluation_size: expected a positive whole number, or \[height, width\]"):
        parse_grid(grid(data, evaluation_size=wrong))


@pytest.mark.parametrize("name", grid_names())
def test_packaged_grids_state_their_evaluation_size(name: str) -> None:
    assert load_grid(name).evaluation_size is not None


def test_demo_is_evaluated_at_one_size(tmp_path: Path) -> None:
    demo = load_grid("demo")
    sizes = {name: demo.size_for(method) for name, method in demo.methods.items()}
    assert sizes["diad"] == sizes["draem"] == (64, 64)
    assert sizes["patchcore"] == demo.evaluated_at == (128, 128)


def test_a_small_diad_stands_beside_patchcore_at_one_size(data: Path, tmp_path: Path) -> None:
    tiny = {"size": "tiny", "weights": "random", "autoencoder_steps": 1, "autoencoder_accumulate": 1, "train_steps": 1}
    tiny |= {"batch_size": 2, "accumulate": 1, "steps": 1, "backbone": "tf_efficientnet_lite0"}
    methods = {
        "diad": {"method": "diad", "image_size": 64, "options": {**tiny, "backbone_weights": "package"}},
        "patchcore": {"method": "patchcore-lite"},
    }
    run = diadbench.run(grid(data, methods=methods, image_size=128, evaluation_size=None), tmp_path / "run")
    for name in methods:
        cell = run.directory.cell("parts", name, "multi-class", 0)
        assert cell.state == "done", cell.status
        assert np.load(cell.directory / "maps" / "0.npy").shape == (9, 128, 128)
        assert cell.status["evaluation_size"] == [128, 128]
        for picture in pictures(cell):
            assert picture.mask is not None
            assert (picture.mask == native_masks(data, (128, 128))[picture.row - 5]).all()
    assert "runs at 64x64; its maps are resized to 128x128" in notes(tmp_path / "run", "diad")
    assert not [note for note in notes(tmp_path / "run", "patchcore") if "resized" in note]


def test_maps_of_another_size_than_the_images_are_refused() -> None:
    with pytest.raises(UserError, match=r"expected \(2, 8, 8\)"):
        at_evaluation_size(torch.zeros(2, 4, 4), torch.zeros(2, 3, 8, 8), (16, 16))


def test_resizing_depends_on_neither_batch_nor_threads() -> None:
    maps, images = torch.randn(5, 24, 20), torch.zeros(5, 3, 24, 20)
    whole = at_evaluation_size(maps, images, SIZE)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        single = torch.cat([at_evaluation_size(maps[i : i + 1], images[i : i + 1], SIZE) for i in range(5)])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(whole, single)


def test_float16_maps_keep_offset_and_range(half_run: Path, tmp_path: Path) -> None:
    own = figures(half_run)
    evaluate_run(half_run, "exact", tmp_path / "again", lambda *_: None)
    again = figures(tmp_path / "again")
    assert own["plain", "p_auroc"] > 0.9
    for method in ("plain", "large", "offset"):
        kept = RunDirectory(half_run).cell("parts", method, "multi-class", 0).status["kept_maps"]
        assert kept["dtype"] == "float16"
        assert 0 < kept["loss"] < 5e-4
        for metric in (*PIXEL, "i_auroc", "i_ap"):
            assert again[method, metric] == pytest.approx(own[method, metric], abs=2e-3)
        said = notes(tmp_path / "again", method)
        assert any(f"off by at most {100 * kept['loss']:.2g} % of a map's range" in note for note in said)
        off = max(abs(again[method] - own[method]).dropna())
        assert any("every figure" in note if off == 0 else f"is {100 * off:.2g} points" in note for note in said)
    evaluate_run(half_run, "mvtec", tmp_path / "mvtec", lambda *_: None)  # image scores from the kept maps
    assert figures(tmp_path / "mvtec")["large", "i_auroc"] == own["large", "i_auroc"]


def test_galleries_keep_offset_and_range(half_run: Path) -> None:
    plain, offset, large = (
        pictures(RunDirectory(half_run).cell("parts", name, "multi-class", 0)) for name in ("plain", "offset", "large")
    )
    for one, moved, grown in zip(plain, offset, large):
        assert one.heat is not None
        assert moved.heat is not None
        assert grown.heat is not None
        extent = np.ptp(one.heat)
        np.testing.assert_allclose(moved.heat - 1000, one.heat, rtol=0, atol=1e-3 * extent)
        np.testing.assert_allclose(grown.heat / 200000, one.heat, rtol=0, atol=1e-3 * extent)


def test_float16_maps_of_earlier_versions_are_read_with_a_note(half_run: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(half_run, old)
    cell = RunDirectory(old).cell("parts", "plain", "multi-class", 0).directory
    limits = cell / "maps" / "0.limits.npy"
    maps = from_half(np.load(cell / "maps" / "0.npy"), np.load(limits))
    np.save(cell / "maps" / "0.npy", maps.astype(np.float16))
    limits.unlink()
    for path, drop in ((cell / "status.json", "kept_maps"), (cell / "cell.yaml", "evaluation_size")):
        content = yaml.safe_load(path.read_text())
        del content[drop]
        path.write_text(json.dumps(content))
    evaluate_run(old, "exact", tmp_path / "again", lambda *_: None)
    assert figures(tmp_path / "again")["plain", "p_auroc"] == pytest.approx(
        figures(half_run)["plain", "p_auroc"], abs=0.01
    )
    assert any("without their limits" in note for note in notes(tmp_path / "again", "plain"))


@pytest.mark.parametrize("scale", [1e-44, 1e-3, 1.0, 1e6, 3e38])
@pytest.mark.parametrize("offset", [0.0, 1000.0, -1e30])
def test_half_maps_lose_no_more_than_said(scale: float, offset: float) -> None:
    unit = np.random.default_rng(3).uniform(-1, 1, (6, 9, 11))
    maps = (unit * scale + offset).astype(np.float32)
    half, limits = to_half(maps)
    back = from_half(half, limits)
    extent = maps.max((1, 2), keepdims=True).astype(float) - maps.min((1, 2), keepdims=True)
    rounding = np.spacing(abs(maps).max()) / 2
    assert (abs(back.astype(float) - maps) <= 2**-12 * extent * (1 + 1e-6) + rounding).all()
    assert (back.min((1, 2)) == maps.min((1, 2))).all()
    assert (back.max((1, 2)) == maps.max((1, 2))).all()
    assert loss_of_half(maps, half, limits) == pytest.approx(
        float((abs(back.astype(float) - maps) / np.where(extent > 0, extent, 1)).max())
    )


def test_half_maps_keep_what_is_not_finite() -> None:
    maps = np.array([[[np.nan, np.inf], [-np.inf, 5]], [[np.nan] * 2] * 2, [[7, 7], [7, 7]]], dtype=np.float32)
    half, limits = to_half(maps)
    np.testing.assert_array_equal(from_half(half, limits), maps)
    assert loss_of_half(maps, half, limits) == 0

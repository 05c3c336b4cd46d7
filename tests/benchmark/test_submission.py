"""MVTec AD 2 from the sample to the server's archive: thresholds on validation images, no metric of private ones."""

from __future__ import annotations

import importlib.util
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.reuse.submission import check_archive, export_submission
from diadbench.benchmark.runs.runner import run_grid
from diadbench.cli import main
from diadbench.common.errors import UserError

HELPERS = Path(__file__).parents[1] / "helpers"


def in_process():
    """Return the engine of tests/helpers that calls each cell's worker here."""
    spec = importlib.util.spec_from_file_location("real_run", HELPERS / "real_run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.InProcess()


@pytest.fixture(scope="module")
def submission(tmp_path_factory):
    """A sample of the set, a run on it, and its archive."""
    place = tmp_path_factory.mktemp("ad2")
    data, run = place / "mvtec_ad_2", place / "run"
    assert main(["datasets", "make-sample", "mvtec_ad_2", "--out", str(data)]) == 0
    grid = {
        "name": "run",
        "methods": {"mean": {"method": f"{HELPERS / 'pixel_mean.py'}:PixelMean"}},
        "datasets": {"mvtec_ad_2": {"dataset": "mvtec_ad_2", "root": str(data)}},
        "image_size": 32,
        "protocol": "mvtec-ad-2",
        "device": "cpu",
        "threads": 1,
    }
    run_grid(parse_grid(grid), run, engine=in_process(), quiet=True)
    archive, notes = export_submission(run, method="", rule="3sigma", out=None, progress=lambda *_: None)
    return data, run, archive, notes


def cell_of(run):
    return next((run / "cells").glob("*/*/*/seed0"))


def test_the_archive_is_as_the_server_wants_it(submission):
    data, _, archive, _ = submission
    with tarfile.open(archive) as held:
        names = [name.partition("/")[2] for name in held.getnames()]
        maps = [name for name in names if name.endswith(".tiff")]
        content = held.extractfile(f"{archive.name.removesuffix('.tar.gz')}/{maps[0]}").read()
    assert len(maps) == 8 * 2 * 3 == len([name for name in names if name.endswith(".png")])
    assert "anomaly_images/can/test_private/000_regular.tiff" in maps
    assert "anomaly_images_thresholded/walnuts/test_private_mixed/002_mixed.png" in names
    values = tifffile.imread(io.BytesIO(content))
    with Image.open(data / maps[0].replace("anomaly_images/", "").replace(".tiff", ".png")) as image:
        assert (values.dtype, values.shape) == (np.float16, (image.height, image.width))
    assert main(["export-submission", str(data), "--check", str(archive)]) == 0


def test_private_images_have_predictions_and_no_metric(submission):
    _, run, archive, notes = submission
    scores = pd.read_csv(archive.parent / "scores.csv")
    assert set(scores["split"]) == {"test_private", "test_private_mixed"}
    assert scores[["score", "threshold", "anomalous"]].notna().all().all()
    assert any("standard deviations" in note for note in notes)
    metrics = pd.read_csv(cell_of(run) / "metrics.csv")
    assert not metrics["class"].str.contains("private").any()
    assert {"aupro@0.05", "seg_f1@3sigma", "class_f1@3sigma"} <= set(metrics["metric"])
    assert metrics[metrics["metric"] == "seg_f1@3sigma"]["value"].notna().all()


def test_thresholds_are_set_on_the_validation_images(submission):
    data, run, _, _ = submission
    with np.load(cell_of(run) / "normal.npz") as kept:
        assert len(kept["0/scores"]) == len(list((data / "can" / "validation" / "good").glob("*.png")))


def test_decisions_are_the_pixels_above_the_threshold(submission):
    archive = submission[2]
    folder = archive.parent / archive.name.removesuffix(".tar.gz")
    for path in sorted((folder / "anomaly_images").rglob("*.tiff"))[::7]:
        values = tifffile.imread(path).astype(float)
        other = str(path).replace("anomaly_images", "anomaly_images_thresholded").replace(".tiff", ".png")
        called = np.asarray(Image.open(other)) == 255
        assert not called.any() or not (~called).any() or values[called].min() >= values[~called].max() - 2e-3


def break_name(folder):
    path = folder / "anomaly_images/can/test_private/000_regular.tiff"
    path.rename(path.with_name("0_regular.tiff"))


def break_size(folder):
    tifffile.imwrite(folder / "anomaly_images/can/test_private/000_regular.tiff", np.zeros((3, 4), np.float16))


def break_type(folder):
    path = folder / "anomaly_images/vial/test_private_mixed/001_mixed.tiff"
    tifffile.imwrite(path, tifffile.imread(path).astype(np.float32))


def break_values(folder):
    path = folder / "anomaly_images_thresholded/rice/test_private/001_regular.png"
    Image.fromarray(np.full(np.asarray(Image.open(path)).shape, 1, np.uint8)).save(path)


def break_colour(folder):
    path = folder / "anomaly_images_thresholded/rice/test_private/001_regular.png"
    Image.open(path).convert("RGB").save(path)


def lose_file(folder):
    (folder / "anomaly_images/walnuts/test_private/002_regular.tiff").unlink()


def lose_object(folder):
    for kind in ("anomaly_images", "anomaly_images_thresholded"):
        shutil.rmtree(folder / kind / "fabric")


def add_file(folder):
    (folder / "anomaly_images/can/.DS_Store").write_bytes(b"")


def add_folder(folder):
    (folder / "anomaly_images/can/test_public").mkdir()


def add_beside(folder):
    (folder / "scores.csv").write_text("", encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (break_name, "0_regular.tiff: no part of a submission; expected 000_regular.tiff to 002_regular.tiff"),
        (break_size, "4x3; expected"),
        (break_type, "float32; expected float16"),
        (break_values, "expected 0 and 255"),
        (break_colour, "3 dimensions; expected 2"),
        (lose_file, "002_regular.tiff: missing"),
        (lose_object, "fabric/test_private/000_regular.tiff and 11 more: missing"),
        (add_file, ".DS_Store: no part of a submission; expected test_private, test_private_mixed"),
        (add_folder, "test_public: no part of a submission; expected test_private, test_private_mixed"),
        (add_beside, "scores.csv: no part of a submission; expected anomaly_images, anomaly_images_thresholded"),
    ],
)
def test_a_fault_is_refused_with_its_reason(submission, tmp_path, damage, reason):
    data, _, archive, _ = submission
    folder = tmp_path / "mine"
    shutil.copytree(archive.parent / archive.name.removesuffix(".tar.gz"), folder)
    assert check_archive(folder, data)
    damage(folder)
    with pytest.raises(UserError, match=reason):
        check_archive(folder, data)


def test_a_broken_archive_and_a_run_without_the_set_are_said(submission, tmp_path):
    data, run, archive, _ = submission
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"can't be read as a .tar.gz|missing"):
        check_archive(broken, data)
    with pytest.raises(UserError, match="no finished cell of 'padim' on mvtec_ad_2"):
        export_submission(run, method="padim", rule="3sigma", out=tmp_path, progress=lambda *_: None)
    with pytest.raises(UserError, match="exists already"):
        export_submission(run, method="", rule="3sigma", out=None, progress=lambda *_: None)

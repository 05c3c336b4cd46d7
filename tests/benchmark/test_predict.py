"""``diadbench predict`` on pictures as people have them: what is read, what is written, what is said of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diadbench.benchmark.records.store import CellRecord
from diadbench.benchmark.reuse.normal_place import NormalScores, normal_scores, threshold_from
from diadbench.benchmark.reuse.photos import find_photos, output_names
from diadbench.benchmark.reuse.predict import predict_images
from diadbench.cli import main
from diadbench.common.errors import UserError
from tests.helpers.real_run import SIDE, make_run

GENERATOR = np.random.default_rng(3)


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cell of a real run: two classes, eight normal test images each."""
    place = tmp_path_factory.mktemp("predict")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(place / "cache"))
        run = make_run(place / "run", methods=["One"], datasets={"parts": ["nut", "bolt"]}, seeds=[0])
    return run.path / "cells/parts/One/multi-class/seed0"


def picture(path: Path, side: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(GENERATOR.integers(0, 255, (side, side, 3), dtype=np.uint8)).save(path)
    return path


def told(capsys: pytest.CaptureFixture[str], *words: Any, code: int = 0) -> str:
    assert main(["predict", *map(str, words)]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def test_images_of_equal_names_keep_their_own_pictures(cell: Path, tmp_path: Path) -> None:
    photos = tmp_path / "my photos"
    names = ["part.png", "part.jpg", "x/y.png", "x__y.png", "line A/1.png", "line B/1.png", "Cap.PNG", "cap.png"]
    for name in names:
        picture(photos / name)
    made = predict_images(cell, photos, tmp_path / "out")
    assert sorted(made.table["image"]) == sorted(names)
    for column in ("map", "overlay"):
        files = [tmp_path / "out" / name for name in made.table[column]]
        assert len({str(file).casefold() for file in files}) == len(names)
        assert all(file.is_file() for file in files)
    for row in made.table.itertuples():
        assert np.load(tmp_path / "out" / str(row.map)).max() == pytest.approx(row.map_max)


def test_names_of_output_never_meet() -> None:
    found = output_names(["a.png", "a.jpg", "a__b.png", "a/b.png", "b.png", "A__B.PNG"])
    assert (found["a.png"], found["a.jpg"], found["b.png"]) == ("a.png", "a.jpg", "b")
    assert len({name.casefold() for name in found.values()}) == 6
    later = output_names(["a.png", "a.jpg", "b.png", "b.jpg"], {"b.png": "b"})
    assert (later["b.png"], later["b.jpg"]) == ("b", "b.jpg")
    deep = output_names(["/".join(["folder" * 8] * 9) + f"/{name}.png" for name in "xy"])
    assert len(set(deep.values())) == 2
    assert all(len(name) < 200 for name in deep.values())


def test_hidden_broken_and_other_files_are_passed_over_and_counted(
    cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    for name in ("a.png", "b.png"):
        picture(photos / name)
    (photos / ".hidden.png").write_bytes(b"")
    (photos / "._a.png").write_bytes(b"\0\5")
    picture(photos / ".thumbnails" / "c.png")
    (photos / "notes.txt").write_text("x")
    (photos / "zz.png").write_text("abc")
    out = told(capsys, cell, "--images", photos, "--out", tmp_path / "out")
    assert "passed over: 3 hidden, 1 no image, 1 broken" in out
    assert f"broken: {photos / 'zz.png'}: not an image of a known format" in out
    assert len(pd.read_csv(tmp_path / "out" / "scores.csv")) == 2
    (photos / "zz.png").unlink()
    picture(photos / "zz.png")
    assert "broken:" not in told(capsys, cell, "--images", photos, "--out", tmp_path / "out")
    assert len(pd.read_csv(tmp_path / "out" / "scores.csv")) == 3


def test_a_link_to_nowhere_a_pipe_and_a_strange_name_cost_themselves_alone(
    cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    picture(photos / "a\nb.png")
    os.symlink("nowhere.png", photos / "link.png")
    os.mkfifo(photos / "pipe.png")
    os.rename(picture(photos / "x.png"), os.fsencode(photos) + b"/\xff.png")
    for _ in range(2):  # the second time from what is kept
        out = told(capsys, cell, "--images", photos, "--out", tmp_path / "out")
        assert "a\\nb.png" in out
        assert f"broken: {photos / 'link.png'}: file not found" in out
        assert f"broken: {photos / 'pipe.png'}: can't be read (it is a pipe" in out
        assert "passed over: 1 with a name that isn't UTF-8, 2 broken" in out


def test_pixels_that_are_not_read_as_they_stand_are_told(cell: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    picture(photos / "plain.png")
    Image.open(photos / "plain.png").convert("CMYK").save(photos / "print.jpg")
    Image.fromarray(GENERATOR.integers(0, 255, (40, 40, 4), dtype=np.uint8)).save(photos / "cut_out.png")
    Image.fromarray(GENERATOR.integers(0, 1024, (40, 40), dtype=np.uint16)).save(photos / "camera.png")
    for _ in range(2):
        notes = predict_images(cell, photos, tmp_path / "out").notes
        assert "1 image has transparent pixels: its alpha channel is dropped" in notes
        assert "1 image is CMYK, converted to RGB without a colour profile" in notes
        assert any("16-bit image lies below a quarter of the range" in note for note in notes)


def test_its_own_output_is_never_read(cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    picture(photos / "line A" / "a.png")
    picture(photos / "b.png")
    told(capsys, cell, "--images", photos / "line A")  # writes beside it: photos/predictions
    for place in (photos / "predictions", tmp_path / "other", photos):
        for _ in range(2):
            text = told(capsys, cell, "--images", photos, "--out", place)
            assert pd.read_csv(place / "scores.csv")["image"].sort_values().tolist() == ["b.png", "line A/a.png"]
    assert "4 folders of predictions" in text
    refused = told(capsys, cell, "--images", photos / "predictions" / "overlays", "--out", tmp_path / "x", code=2)
    assert "give the images themselves" in refused


def test_nothing_of_the_users_is_overwritten(cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, mine = picture(tmp_path / "photos" / "a.png").parent, picture(tmp_path / "out" / "maps" / "a.png")
    before = mine.read_bytes()
    assert "was not written by predict" in told(capsys, cell, "--images", photos, "--out", tmp_path / "out", code=2)
    assert mine.read_bytes() == before


def test_files_and_folders_together(cell: Path, tmp_path: Path) -> None:
    given = [
        picture(tmp_path / "one" / "a.png").parent,
        picture(tmp_path / "two" / "b.png"),
        tmp_path / "one" / "a.png",
    ]
    made = predict_images(cell, given, tmp_path / "out")
    assert sorted(made.table["image"]) == ["one/a.png", "two/b.png"]  # a file that is given twice is one


def test_percentile_and_decision_are_those_of_the_cell(cell: Path, tmp_path: Path) -> None:
    root = cell.parents[5] / "run images" / "0"
    made = predict_images(cell, root / "nut" / "test", tmp_path / "out", threshold="75%")
    kept = pd.read_parquet(cell / "scores.parquet").set_index("image")
    normal = kept[kept["label"] == 0]["method_score"].to_numpy()
    assert len(normal) == 16
    assert (normal <= made.threshold.value).mean() >= 0.75 > (normal < made.threshold.value).mean()
    for row in made.table.itertuples():
        score = kept.loc[f"nut/test/{row.image}", "method_score"]
        assert row.score == pytest.approx(score, abs=1e-6)
        below = ((normal < row.score).sum() + (normal <= row.score).sum()) / 2
        assert row.percentile == pytest.approx(100 * below / 16, abs=0.01)
        assert row.decision == ("anomalous" if row.score > made.threshold.value else "normal")
    assert set(made.table["decision"]) == {"anomalous", "normal"}
    alone = predict_images(cell, root / "nut" / "test", tmp_path / "alone", among="nut")
    assert alone.normal.of == "the 8 normal test images of parts, class nut"
    with pytest.raises(UserError, match="did you mean nut"):
        predict_images(cell, root / "nut" / "test", tmp_path / "x", among="nutt")


@pytest.mark.parametrize("text", ["", "%", "0%", "101%", "nan", "much"])
def test_a_threshold_is_a_score_or_a_share(text: str) -> None:
    with pytest.raises(UserError, match="--threshold: expected a score"):
        threshold_from(text, NormalScores(np.arange(4.0), ""))


def test_without_normal_scores_nothing_is_decided() -> None:
    nothing = NormalScores(np.zeros(0), "the 0 normal test images of x")
    assert np.isnan(nothing.percentiles(np.ones(2))).all()
    assert threshold_from("95%", nothing).decide(1.0) == ""
    assert threshold_from("0.5", nothing).decide(1.0) == "anomalous"


def test_json_holds_all_that_is_known(cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.png").write_bytes(b"")
    said = json.loads(told(capsys, cell, "--images", tmp_path / "photos", "--out", tmp_path / "out", "--json"))
    assert set(said) == {"out", "threshold", "compared_with", "images", "broken", "passed_over", "notes"}
    assert [row["image"] for row in said["images"]] == ["a.png"]
    assert set(said["broken"]) == {"b.png"}
    assert said["threshold"]["why"] == "95 % of the 16 normal test images of parts lie at or below it"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "no such file or directory"), ("", "no images"), ("x", "the image can't be predicted")],
)
def test_what_is_wrong_is_one_line(
    cell: Path, tmp_path: Path, content: str | None, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "photos").mkdir()
    if content:
        (tmp_path / "photos" / "a.png").write_text(content)
    error = told(capsys, cell, "--images", tmp_path / "photos", "--out", tmp_path / "out", code=2)
    assert sentence in error
    assert error.count("\n") == 1


def test_many_missing_and_many_broken_files_are_one_short_line(
    cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / f"{number:03}_{'long' * 10}.png" for number in range(60)]
    error = told(capsys, cell, "--images", *files, "--out", tmp_path / "out", code=2)
    assert f"{files[0]}" in error
    assert " more: no such file or directory" in error
    assert len(error) <= 300
    for file in files:
        file.write_text("x")
    error = told(capsys, cell, "--images", *files, "--out", tmp_path / "out", code=2)
    assert "none of 60 images can be predicted" in error
    assert len(error) <= 300


def test_another_model_needs_another_place(cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = picture(tmp_path / "a.png")
    predict_images(cell, photo, tmp_path / "out")
    known = json.loads((tmp_path / "out" / "predictions.json").read_text())
    known["model"]["identity"] = "another"
    (tmp_path / "out" / "predictions.json").write_text(json.dumps(known))
    assert "of another model" in told(capsys, cell, "--images", photo, "--out", tmp_path / "out", code=2)


def test_a_run_with_one_cell_is_enough(cell: Path, tmp_path: Path) -> None:
    made = predict_images(cell.parents[4], picture(tmp_path / "a.png"), tmp_path / "out")
    assert len(made.table) == 1


def test_a_changed_image_is_predicted_again_and_a_gone_one_leaves(cell: Path, tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / "photos" / f"{name}.png")
    first = predict_images(cell, tmp_path / "photos", tmp_path / "out").table.set_index("image")["score"]
    (tmp_path / "photos" / "a.png").unlink()
    os.utime(tmp_path / "out" / "maps" / "b.npy", (1, 1))
    picture(tmp_path / "photos" / "c.png", side=41)
    second = predict_images(cell, tmp_path / "photos", tmp_path / "out").table.set_index("image")["score"]
    assert second.index.sort_values().tolist() == ["b.png", "c.png"]
    assert second["b.png"] == first["b.png"]
    assert second["c.png"] != first["c.png"]
    assert (tmp_path / "out" / "maps" / "b.npy").stat().st_mtime == 1  # not made again
    assert sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir()) == ["b.png", "c.png"]


def test_a_cell_is_named_from_where_one_stands(
    cell: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = picture(tmp_path / "a.png")
    copy = shutil.copytree(cell, tmp_path / "copy")
    for here, name in ((cell, "."), (cell.parent, cell.name), (cell.parent, f"../{cell.parent.name}/{cell.name}")):
        monkeypatch.chdir(here)
        assert "normal test images of parts" in told(capsys, name, "--images", image, "--out", tmp_path / "out")
    assert normal_scores(CellRecord(copy), "all").of == "the 16 normal test images of parts"


@pytest.mark.parametrize(
    "line",
    ['{"image": "a.png"}', "[1, 2]", '"x"', "null", '{"image": "a.png", "name": "a", "state": [1], "score": "a"}'],
)
def test_a_broken_line_of_the_journal_costs_its_image_alone(cell: Path, tmp_path: Path, line: str) -> None:
    picture(tmp_path / "photos" / "a.png")
    first = predict_images(cell, tmp_path / "photos", tmp_path / "out").table
    with open(tmp_path / "out" / "predictions.jsonl", "a") as journal:
        journal.write(f"{line}\n")
    pd.testing.assert_frame_equal(predict_images(cell, tmp_path / "photos", tmp_path / "out").table, first)


KILLED_AFTER = """
import os, signal, sys
from pathlib import Path
from diadbench.benchmark.reuse import predict
count = int(sys.argv[4])
keep = predict.Predictions.keep
def die(self, entries, maps):
    keep(self, entries, maps)
    if len(self.entries) >= count:
        with open(self.out / "predictions.jsonl", "ab") as torn:
            torn.write(b'{"image": "torn')
        os.kill(os.getpid(), signal.SIGKILL)
predict.Predictions.keep = die
predict.predict_images(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
"""


def test_a_killed_prediction_goes_on(cell: Path, tmp_path: Path) -> None:
    for place in range(20):
        picture(tmp_path / "photos" / f"{place:02d}.png")
    whole = predict_images(cell, tmp_path / "photos", tmp_path / "whole").table
    words = [str(cell), str(tmp_path / "photos"), str(tmp_path / "killed"), "16"]
    done = subprocess.run([sys.executable, "-c", KILLED_AFTER, *words], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed" / "maps").glob("*.npy")}
    assert len(kept) == 16
    time.sleep(0.02)
    again = predict_images(cell, tmp_path / "photos", tmp_path / "killed").table
    pd.testing.assert_frame_equal(again, whole)
    assert all(path.stat().st_mtime_ns == date for path, date in kept.items())
    for name in whole["overlay"]:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


KILLED_PAINTING = """
import os, signal, sys
from pathlib import Path
from diadbench.benchmark.reuse import overlays, predict
paint, painted = overlays._paint, []
def die(*given):
    paint(*given)
    painted.append(given)
    if len(painted) >= 7:
        os.kill(os.getpid(), signal.SIGKILL)
overlays._paint = die
predict.predict_images(*map(Path, sys.argv[1:]))
"""


def test_a_killed_painter_goes_on(cell: Path, tmp_path: Path) -> None:
    for place in range(20):
        picture(tmp_path / "photos" / f"{place:02d}.png")
    whole = predict_images(cell, tmp_path / "photos", tmp_path / "whole").table
    words = [str(cell), str(tmp_path / "photos"), str(tmp_path / "killed")]
    done = subprocess.run([sys.executable, "-c", KILLED_PAINTING, *words], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    made = [*(tmp_path / "killed" / "maps").glob("*.npy"), *(tmp_path / "killed" / "overlays").glob("[!.]*.png")]
    assert 27 <= len(made) < 40, "all maps, and some pictures"
    dates = {path: path.stat().st_mtime_ns for path in made}
    again = predict_images(cell, tmp_path / "photos", tmp_path / "killed").table
    pd.testing.assert_frame_equal(again, whole)
    assert all(path.stat().st_mtime_ns == date for path, date in dates.items()), "nothing is made twice"
    for path in (tmp_path / "whole").rglob("*.png"):
        other = tmp_path / "killed" / path.relative_to(tmp_path / "whole")
        assert other.read_bytes() == path.read_bytes(), other


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "up").symlink_to(tmp_path / "photos")
    assert [photo.image for photo in find_photos([tmp_path / "photos"], tmp_path / "out").photos] == ["a.png"]


def test_maps_have_the_evaluation_size(cell: Path, tmp_path: Path) -> None:
    predict_images(cell, picture(tmp_path / "a.png", side=57), tmp_path / "out")
    assert np.load(tmp_path / "out" / "maps" / "a.npy").shape == (SIDE, SIDE)
    assert Image.open(tmp_path / "out" / "overlays" / "a.png").size == (57, 57)

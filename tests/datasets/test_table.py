from __future__ import annotations

import pandas as pd
import pytest

from diadbench.common.errors import UserError
from diadbench.datasets.base import DatasetInfo
from diadbench.datasets.table import COLUMNS, checked, count

ANY = DatasetInfo("some", "Some", "")
FIXED = DatasetInfo("some", "Some", "", classes=("wood", "bottle", "cable"))


def rows(*names: str) -> list[dict[str, object]]:
    made: list[dict[str, object]] = []
    for name in names:
        made += [
            {
                "image": f"{name}/test/crack/0.png",
                "class": name,
                "split": "test",
                "label": 1,
                "mask": f"{name}/m/0.png",
            },
            {"image": f"{name}/test/good/1.png", "class": name, "split": "test", "label": 0, "mask": ""},
            {"image": f"{name}/train/good/0.png", "class": name, "split": "train", "label": 0, "mask": None},
        ]
    return made


def test_canonical_form() -> None:
    table = checked(pd.DataFrame(rows("cable", "wood")), FIXED)
    assert list(table.columns) == list(COLUMNS)
    assert list(table.index) == list(range(6))
    assert table["class"].tolist() == ["wood"] * 3 + ["cable"] * 3
    assert table["split"].tolist() == ["train", "test", "test"] * 2
    assert table["label"].dtype == "int8"
    assert table["defect"].tolist() == ["good", "defect", "good"] * 2
    assert (table["sample_id"] == table["image"]).all()
    assert (table["mask"] != "").sum() == 2


def test_order_is_alphabetical_without_canonical_classes_and_stable_inside() -> None:
    table = checked(pd.DataFrame(rows("b", "a", "C")), ANY)
    assert table["class"].drop_duplicates().tolist() == ["C", "a", "b"]
    assert table["image"].iloc[1:3].tolist() == ["C/test/crack/0.png", "C/test/good/1.png"]


def test_wanted_classes_in_the_order_asked_for() -> None:
    table = checked(pd.DataFrame(rows("wood", "bottle", "cable")), FIXED, wanted=["cable", "wood"])
    assert table["class"].drop_duplicates().tolist() == ["cable", "wood"]


def test_counts() -> None:
    counted = count(checked(pd.DataFrame(rows("wood", "cable")), FIXED))
    assert counted.loc["cable"].tolist() == [1, 1, 1]
    assert list(counted.index) == ["wood", "cable"]


def changed(**values: object) -> pd.DataFrame:
    made = rows("wood")
    made[0].update(values)
    return pd.DataFrame(made)


@pytest.mark.parametrize(
    ("table", "wanted", "message"),
    [
        (changed(), ["wod"], "unknown class 'wod'; did you mean wood"),
        (changed(), ["cable"], "class 'cable' is not there"),
        (changed(), [], "empty list"),
        (changed(), ["wood", "wood"], "listed twice"),
        (pd.DataFrame(rows("wod")), None, "did you mean wood"),
        (changed(mask=""), None, r"wood/test/crack/0.png: anomalous test image without a mask"),
        (changed(label=2), None, "label"),
        (changed(split="val"), None, "split 'val'"),
        (changed(split="train"), None, "anomalous sample in the training split"),
        (changed(image="wood/test/good/1.png"), None, "listed twice"),
        (changed(image="/etc/passwd"), None, "leaves the data root"),
        (changed(image="wood/../../x.png"), None, "leaves the data root"),
        (changed(image="..\\x.png"), None, "leaves the data root"),
        (changed(image="C:\\x.png"), None, "leaves the data root"),
        (changed(mask="../x.png"), None, "mask path"),
        (changed(image=None), None, "has no image"),
        (changed(image=""), None, "empty image"),
        (pd.DataFrame(rows("wood")[:2]), None, "no training images"),
        (pd.DataFrame(rows("wood")[2:]), None, "no test images"),
        (pd.DataFrame(rows("wood")[:0], columns=["image", "class", "split", "label"]), None, "no samples"),
        (pd.DataFrame(rows("wood")).drop(columns="label"), None, "no column label"),
    ],
)
def test_what_is_refused(table: pd.DataFrame, wanted: list[str] | None, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        checked(table, FIXED, wanted=wanted, where="/data/some")
    assert "\n" not in str(caught.value)


def test_names_with_dots_are_no_way_out_of_the_root() -> None:
    assert len(checked(changed(image="wood/test/a..b/..hidden.png"), FIXED)) == 3


@pytest.mark.parametrize("keep", [[0, 2], [1, 2]])
def test_a_class_without_normal_or_anomalous_test_images_is_allowed(keep: list[int]) -> None:
    assert len(checked(pd.DataFrame(rows("wood")).iloc[keep], FIXED)) == 2


def test_an_image_may_be_in_two_classes_that_never_train_together() -> None:
    first, second = rows("wood"), rows("cable")
    second[2]["image"] = first[2]["image"]
    assert len(checked(pd.DataFrame(first + second), FIXED)) == 6

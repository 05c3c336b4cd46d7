"""The published figures of 2024 to 2026: checked, none twice, and shown where sources contradict each other."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest
from openpyxl import load_workbook

from diadbench.cli import main
from diadbench.common.errors import UserError
from diadbench.reports import build, load_published
from diadbench.reports.published.comparable import dataset_key, disagreements, same_setting, setting_of
from diadbench.reports.published.figure_arithmetic import check_published
from diadbench.reports.published.literature import add
from diadbench.reports.published.published_files import SHIPPED, VALUES, read_table
from diadbench.reports.tables.escape import squeeze
from diadbench.reports.tables.rows.result_rows import records
from diadbench.reports.terminal import print_published


def _rows(**changes: object) -> list[dict[str, object]]:
    """Two rows of the same method on the same dataset, by two sources."""
    row = {"method": "A", "dataset": "MVTec AD", "setting": "multi-class", "resolution": "256", "epochs": 100.0}
    figures = dict.fromkeys(VALUES, float("nan"))
    return [{**row, **figures, "i_auroc": 97.0, "source": "one"}, {**row, **figures, "source": "two", **changes}]


def test_every_shipped_row_passes_or_carries_a_check_note() -> None:
    rows = records(load_published())
    assert len(rows) == 358 + 249
    bad = [row for row in rows if check_published(row) and "CHECK" not in row["note"]]
    assert [(row["method"], row["dataset"], check_published(row)) for row in bad] == []


def test_the_shipped_rows_of_2026_went_through_the_importer(tmp_path: Path) -> None:
    """Importing them again adds none and finds nothing to say that their notes don't say."""
    path = Path(str(files("diadbench.reports") / "published" / SHIPPED[1]))
    added, warnings = add(path)
    assert len(added) == 0
    notes = " ".join(read_table(path)["note"])
    assert warnings
    for warning in warnings:
        assert f"CHECK: {warning.split(': ', 1)[1]}" in notes


def test_no_row_is_there_twice() -> None:
    table = load_published()
    key = [
        table["dataset"].map(dataset_key),
        *(table[name].map(lambda text: squeeze(str(text))) for name in ("source", "method", "setting", "resolution")),
        table[["epochs", *VALUES]],
    ]
    assert not pd.concat(key, axis=1).duplicated().any()


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("multi-class", "multi-class"),
        ("multi-class (160 classes)", "multi-class"),
        ("single-class (one model per class)", "one-per-class"),
        ("few-shot multi-class, 4 per class (one model)", "few-shot-4"),
        ("few-shot, 4 per class", "few-shot"),
        ("zero-shot (one model trained on another data set)", "zero-shot"),
        ("multi-class over 3 datasets (one model)", "multi-class over 3 datasets (one model)"),
    ],
)
def test_settings_are_told_apart(text: str, setting: str) -> None:
    assert setting_of(text) == setting
    assert same_setting(text, text)
    assert same_setting(text, "multi-class") == (setting == "multi-class")
    assert same_setting(text, "few-shot") == setting.startswith("few-shot")


def test_sources_that_contradict_each_other_are_named() -> None:
    found = disagreements(_rows(i_auroc=95.0))
    assert found == {
        0: "other sources print other figures: AU-ROC_I contradicted by 95",
        1: "other sources print other figures: AU-ROC_I contradicted by 97",
    }
    assert "elsewhere 95" in disagreements(_rows(i_auroc=95.0, epochs=300.0))[0]
    assert disagreements(_rows(i_auroc=97.04)) == {}, "rounding"
    assert disagreements(_rows(i_auroc=95.0, source="one")) == {}, "one source may have several"
    assert disagreements(_rows(i_auroc=95.0, setting="few-shot, 4 per class")) == {}
    assert "contradicted" in disagreements(_rows(i_auroc=95.0, method="A (rerun by B)"))[0]


def test_the_list_keeps_a_setting_and_says_what_contradicts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["published", "list", "--dataset", "mvtec", "--setting", "multi-class"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "few-shot" not in text.split("Percent, as printed there")[0]
    assert "INP-Former" in text
    assert "other sources print other figures" in text
    assert "CHECK" in text
    with pytest.raises(UserError, match="did you mean multi-class"):
        print_published(setting="multi-clas")


def test_no_figure_is_shipped_in_two_files() -> None:
    """The same figures by the same method on the same data and setting, whatever the source is called."""
    tables = [read_table(Path(str(files("diadbench.reports") / "published" / name))) for name in SHIPPED]
    keys = []
    for table in tables:
        figures = table[list(VALUES)].notna().sum(axis=1) >= 3
        rows = records(table[figures])
        keys.append(
            {
                (squeeze(str(row["method"])), dataset_key(str(row["dataset"])), *(str(row[name]) for name in VALUES))
                for row in rows
            }
        )
    assert keys[0] & keys[1] == set()


def test_rows_that_contradict_each_other_say_so_in_every_summary(demo: Path, tmp_path: Path) -> None:
    """Both sources of a method in one table: each row's note gives the figures of the other."""
    wanted = ["ViTAD@ADer benchmark", "ViTAD@ADer method README"]
    written = build(demo, out=tmp_path / "report", show={"published": wanted})
    assert written
    for name in ("tables/summary.tex", "tables/summary.md", "index.html"):
        text = re.sub(r"\s+|\\allowbreak|[\\{}$_~]", "", (tmp_path / "report" / name).read_text(encoding="utf-8"))
        assert "contradictedby99.4" in text, name
        assert "contradictedby99.3" in text, name
    sheets = load_workbook(tmp_path / "report" / "results.xlsx", read_only=True)
    for sheet in ("Summary", "Published"):
        text = " ".join(str(value) for row in sheets[sheet].iter_rows(values_only=True) for value in row if value)
        assert "contradicted by 99.4" in text, sheet
        assert "contradicted by 99.3" in text, sheet

"""Many rows written by column, and the rows of many files read at once, say what pandas says of each."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diadbench.common.errors import UserError
from diadbench.common.values.csv_files import rows_of, write_frame

HEAD = "level,class,kind,f1,reason"


def test_a_written_frame_is_read_back(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "class": ["nut, big", 'a "quoted" one', "two\nlines", "plain"],
            "value": [0.1, float("nan"), 1e-17, 1 / 3],
            "n_normal": [4.0, float("nan"), 12.0, 7.0],
            "seed": [0, 1, 2, 3],
            "reason": ["", "none", "", ""],
        }
    )
    for dtype in (object, "str"):
        path = tmp_path / "below" / "results.csv"
        write_frame(table.astype({"class": dtype, "reason": dtype}), path)
        again = pd.read_csv(path, keep_default_na=False, na_values={"value": [""], "n_normal": [""]})
        pd.testing.assert_frame_equal(again, table, check_exact=True, check_dtype=False)
    assert path.read_text(encoding="utf-8").startswith("class,value,n_normal,seed,reason\n")
    assert np.isnan(again["value"][1])


def test_rows_of_many_files_are_those_of_each(tmp_path: Path) -> None:
    texts = [
        f"{HEAD}\nimage,nut,class,0.5,\nimage,mean,mean,0.25,\nimage,all,pooled,0.75,no\n",
        "",  # missing
        f"{HEAD}\r\nimage,mean,class,0.125,\r\npixel,mean,mean,0.625,\r\n",  # a class that is called mean
        f'{HEAD}\nimage,"nut,mean,big",class,0.5,\nimage,mean,mean,0.5,"why,pooled,\nso"\n',
        "kind,f1,more\nmean,0.5,1\n",  # of another version
        f"{HEAD}\n",
    ]
    files = [tmp_path / f"{place}.csv" for place in range(len(texts))]
    for path, text in zip(files, texts):
        if text:
            path.write_bytes(text.encode())
    each = [pd.read_csv(io.StringIO(text)).assign(file=place) for place, text in enumerate(texts) if text]
    every = pd.concat([table for table in each if len(table)], ignore_index=True)
    found = rows_of(files)
    pd.testing.assert_frame_equal(found[list(every)], every, check_dtype=False, check_like=True)
    chosen = rows_of(files, ("mean", "pooled"))
    wanted = every[every["kind"].isin(["mean", "pooled"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(chosen[list(wanted)], wanted, check_dtype=False, check_like=True)
    assert rows_of(files[1:2]).empty
    assert rows_of(files[5:]).empty


@pytest.mark.parametrize("size", [0, 1, 7, 13, 15, 20, 27, 40])  # none at the end of a line
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, size: int) -> None:
    table = pd.DataFrame({"class": ["nut", "mean"], "kind": ["class", "mean"], "f1": [0.5, 0.25]})
    for name in ("whole", "cut"):
        write_frame(table, tmp_path / f"{name}.csv")
    whole = (tmp_path / "cut.csv").read_bytes()
    (tmp_path / "cut.csv").write_bytes(whole[:size])
    with pytest.raises(UserError, match=r"cut\.csv: damaged, not as diadbench wrote it"):
        rows_of([tmp_path / "whole.csv", tmp_path / "cut.csv"])

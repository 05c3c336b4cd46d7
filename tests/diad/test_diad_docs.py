"""The examples of docs/diad.md run, and give the authors' numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from diadbench.benchmark.planning.grid import load_grid
from diadbench.benchmark.planning.resolving.resolve import resolve_method
from tests.helpers.scripts import script
from tests.helpers.state_dicts import same

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("dataset", list(load_grid("diad-further").datasets))
def test_each_data_set_of_the_grid_has_its_table_and_figure(dataset: str) -> None:
    """Rows are entries of the grid, in its order, with as many calls of the denoiser as their options make."""
    further = script("perf/diad_further.py")
    text = (ROOT / "docs" / "diad.md").read_text(encoding="utf-8")
    begin = further.BEGIN.format(dataset)
    assert text.count(begin) == 1
    table = text.partition(begin)[2].partition(further.END)[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    heads, rows = rows[0], rows[2:]
    methods = load_grid("diad-further").methods
    names = [row[0] for row in rows]
    assert names == [name for name in methods if name in names]
    assert names[0] == next(iter(methods))
    assert float(rows[0][heads.index("cost")]) == 1
    for row in rows:
        spec = methods[row[0]]
        assert int(row[1]) == further.calls_of(resolve_method(spec.method, spec.options).options), row[0]
    assert f"pictures/diad-further-{dataset}.png" in text
    assert (ROOT / "docs" / "pictures" / f"diad-further-{dataset}.png").is_file()


def test_the_stages_give_the_authors_outputs(official: dict[str, Tensor], data: dict[str, Tensor]) -> None:
    text = (ROOT / "docs" / "diad.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {**data, "state": official}
    names["features_in"] = [data[f"feat_in_{i}"] for i in range(3)]
    names["features_out"] = [data[f"feat_out_{i}"] for i in range(3)]
    for code in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(code, names)
    last = names["steps"][-1]
    pairs = {
        "vae_mean": names["mean"],
        "vae_logvar": names["logvar"],
        "z": names["z"],
        "xt_999": names["x"],
        "hint_feat": names["hint"],
        "sg_11": names["control"][2],
        "sg_04": names["every"][4],
        "sg_pre_sff_09": names["before_sff"][9],
        "eps_999": names["eps"],
        "samples": names["reconstruction"],
        "train_loss": names["loss"].detach()[None],
        "amap_gauss": names["maps"][0],
        "image_score": names["score"],
    }
    for name, found in pairs.items():
        expected = data[name].double()
        assert float((found.double() - expected).abs().max()) <= 2e-5 * float(expected.abs().max()), name
    assert last.t == 1
    assert same(names["there_and_back"], official)

"""The examples of docs/diad.md run, and give the authors' numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from tests.helpers.state_dicts import same


def test_the_stages_give_the_authors_outputs(official: dict[str, Tensor], data: dict[str, Tensor]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "diad.md").read_text()
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

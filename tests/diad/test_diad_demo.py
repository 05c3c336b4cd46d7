"""The demo's DiAD detects: on the toy images, from three seeds, better than its autoencoder and a nearest neighbour."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import diadbench
from diadbench.benchmark.planning.grid import load_grid

METHODS = ("diad", "autoencoder", "pixel-knn")


@pytest.mark.slow
def test_it_detects_from_three_seeds(tmp_path: Path) -> None:
    demo = load_grid("demo")
    methods = {label: dataclasses.replace(demo.methods[label], datasets=["toy"], by_dataset={}) for label in METHODS}
    grid = dataclasses.replace(demo, methods=methods, datasets={"toy": demo.datasets["toy"]}, seeds=[0, 1, 2])
    table = diadbench.run(grid, tmp_path / "run", quiet=True).results()
    means = table[(table["class"] == "mean") & table["metric"].isin(["i_auroc", "p_auroc"])]
    found = means.pivot(index=["metric", "seed"], columns="method", values="value")
    print(f"\n{found.round(3)}")
    assert len(found) == 6
    for metric, floor in (("i_auroc", 0.80), ("p_auroc", 0.85)):
        values = found.loc[metric]
        assert (values["diad"] >= floor).all()
        for other in ("autoencoder", "pixel-knn"):
            assert (values["diad"] > values[other]).all(), other

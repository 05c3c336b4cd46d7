"""Significance figures are scipy's on the same pairs; the bootstrap is seeded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from diadbench.reports import holm, load_results, prepare, ranks, versus
from diadbench.reports.tables.stats import RESAMPLES, bootstrap_interval
from diadbench.reports.tables.verdicts import p_text, rounded_p, verdict


@pytest.fixture(scope="module")
def results(demo: Path) -> pd.DataFrame:
    return prepare(load_results(demo))


def _by_class(results: pd.DataFrame, dataset: str, metric: str) -> pd.DataFrame:
    """Return classes x methods straight from the rows, without the code under test."""
    rows = results[(results["dataset"] == dataset) & (results["metric"] == metric) & (results["scope"] == "class")]
    return rows.groupby(["class", "method"])["value"].mean().unstack()


@pytest.mark.parametrize("metric", ["i_auroc", "aupro"])
def test_p_values_are_scipys(results: pd.DataFrame, metric: str) -> None:
    table = versus(results, "DiAD", metrics=[metric])
    for dataset in ("mvtec", "visa"):
        values = _by_class(results, dataset, metric)
        rows = table[table["dataset"] == dataset]
        assert len(rows) == 4
        for row in rows.to_dict("records"):
            ours, theirs = values[row["method"]], values["DiAD"]
            assert row["p"] == stats.wilcoxon(ours, theirs).pvalue
            assert row["difference"] == pytest.approx((ours - theirs).mean(), abs=1e-12)
            assert (row["wins"], row["losses"]) == ((ours > theirs).sum(), (ours < theirs).sum())
        assert list(rows["p_holm"]) == pytest.approx(_step_down(list(rows["p"])))


def _step_down(p: list[float]) -> list[float]:
    """Holm's correction as the paper writes it: the smallest times n, the next times n-1, ..., never falling."""
    adjusted = {i: min(1.0, max((len(p) - j) * q for j, q in enumerate(sorted(p)) if q <= p[i])) for i in range(len(p))}
    return [adjusted[i] for i in range(len(p))]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, float("nan")])[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(holm([0.01, 0.04, 0.03, float("nan")])[3])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_bootstrap_is_seeded_and_agrees_with_scipys() -> None:
    differences = np.random.default_rng(3).normal(0.02, 0.05, 15)
    low, high = bootstrap_interval(differences)
    assert (low, high) == bootstrap_interval(differences)
    assert (low, high) != bootstrap_interval(differences, seed=1)
    other = stats.bootstrap(
        (differences,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert low == pytest.approx(other.low, abs=0.002)
    assert high == pytest.approx(other.high, abs=0.002)


def test_equal_methods_tie_everywhere_and_few_classes_are_said() -> None:
    rows = [
        {"run": "r", "dataset": "d", "method": method, "setting": "multi-class", "seed": 0, "protocol": "exact",
         "class": name, "scope": "class", "metric": "i_auroc", "value": value, "state": "done", "reason": "",
         "identity": method, "flags": "", "n_defined": np.nan, "n_classes": np.nan}
        for method in ("DiAD", "twin")
        for name, value in (("a", 0.9), ("b", 0.8))
    ]  # fmt: skip
    row = versus(pd.DataFrame(rows)).iloc[0]
    assert (row["wins"], row["ties"], row["losses"], row["p"]) == (0, 2, 0, 1.0)
    assert row["verdict"].startswith("Too few classes: with 2 classes this test can't fall below p = 0.5")


def test_methods_that_tie_everywhere_have_no_ranks_apart(results: pd.DataFrame) -> None:
    """The statistic would be 0 / 0, which SciPy warns of; warnings are errors here."""
    tied = results.assign(value=results["value"].where(results["metric"] != "i_auroc", 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ranks(tied, "i_auroc").friedman_p == 1.0


def test_the_order_of_seeds_makes_no_win(make_run: Callable[..., Any], tmp_path: Path) -> None:
    """A sum in another order differs in its last bit: not a win, and not another rank of a difference."""
    make_run(
        tmp_path / "run", methods=["PatchCore"], datasets={"mvtec": ["bottle", "cable"]}, seeds=[0, 1, 2], images=6
    )
    own = prepare(load_results(tmp_path / "run"))
    own["value"] = own["seed"].map({0: 35 / 36, 1: 22 / 36, 2: 13 / 36})  # what an AU-ROC of 6 x 6 images can be
    twins = [
        own.assign(method=f"twin{shift}", identity=f"twin{shift}", seed=(own["seed"] + shift) % 3).sort_values("seed")
        for shift in range(3)
    ]
    results = pd.concat([own, *twins], ignore_index=True)
    table = versus(results, str(own["method"].iloc[0]))
    assert len(table)
    assert not table[["wins", "losses", "difference"]].any(axis=None)
    assert (table["p"].dropna() == 1).all()
    assert all(ranks(results, metric).friedman_p == 1.0 for metric in table["metric"].unique())


def test_a_class_that_was_evaluated_twice_counts_once(make_run: Callable[..., Any], tmp_path: Path) -> None:
    for size in (32, 48):
        make_run(
            tmp_path / str(size), methods=["DiAD", "UniAD"], datasets={"mvtec": ["a", "b", "c"]}, seeds=[0], images=6,
            evaluation_size=size,
        )  # fmt: skip
    results = prepare(load_results([tmp_path / "32", tmp_path / "48"]))
    rows = versus(results, "DiAD", metrics=["p_ap"]).set_index("dataset")
    assert len(rows) == 3
    assert (rows[["pairs", "classes"]] == 3).all(axis=None)
    assert rows.loc["all datasets", "p"] >= 0.25
    parts = rows.drop(index="all datasets")["difference"]
    assert rows.loc["all datasets", "difference"] == pytest.approx(parts.mean(), abs=1e-12)
    assert ranks(results, "p_ap").blocks == 3


@pytest.mark.parametrize(("p", "shown"), [(0.0496, ("0.0496", "0.0496")), (0.04996, ("0.04996", "0.04996")),
                                          (0.05, ("0.0500", "0.050")), (0.0321, ("0.0321", "0.032"))])  # fmt: skip
def test_no_p_below_a_twentieth_is_printed_as_one(p: float, shown: tuple[str, str]) -> None:
    assert (p_text(p), rounded_p(p, 3)) == shown
    row = {"pairs": 9, "classes": 9, "difference": 0.1, "baseline": "b", "p_holm": p, "p_least": 0.01}
    assert ("p = 0.05 " in verdict(row)) == (p == 0.05)


def test_ranks_are_friedmans(results: pd.DataFrame) -> None:
    found = ranks(results, "i_auroc")
    blocks = pd.concat([_by_class(results, name, "i_auroc") for name in ("mvtec", "visa", "elpv")])
    assert found.blocks == len(blocks)
    assert found.friedman_p == pytest.approx(stats.friedmanchisquare(*blocks.T.to_numpy()).pvalue)
    assert found.mean_rank["DiAD"] == pytest.approx(blocks.rank(axis=1, ascending=False)["DiAD"].mean())

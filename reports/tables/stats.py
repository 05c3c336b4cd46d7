"""Comparison of methods with a baseline over classes: differences, bootstrap, Wilcoxon with Holm, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from diadbench.common.errors import unknown_name
from diadbench.reports.tables.escape import squeeze
from diadbench.reports.tables.rows.aggregation import aggregate, one_experiment_a_row
from diadbench.reports.tables.rows.classes_once import class_codes, each_once, labels_of
from diadbench.reports.tables.rows.display import in_order
from diadbench.reports.tables.rows.result_rows import tuples
from diadbench.reports.tables.verdicts import ALPHA, Versus, verdict

ALL = "all datasets"
RESAMPLES = 10_000
#: Decimals to which figures are compared. Means over seeds in another order differ by less, which is no difference.
SAME = 12
Floats = npt.NDArray[np.float64]


def default_baseline(methods: Sequence[str], wanted: str = "") -> str:
    """Return the baseline: ``wanted`` in any spelling, else DiAD, else the first method.

    Raises:
        UserError: ``wanted`` is not among the methods.
    """
    if wanted:
        return find_method(methods, wanted)
    return next((name for name in methods if squeeze(name) == "diad"), methods[0])


def find_method(methods: Sequence[str], wanted: str) -> str:
    """Return the method given by ``wanted``: the same text, or the same letters and digits."""
    if wanted in methods:
        return wanted
    close = [name for name in methods if squeeze(name) == squeeze(wanted)]
    if len(close) == 1:
        return close[0]
    raise unknown_name("method", wanted, methods)


@lru_cache(maxsize=64)
def _weights(n: int, seed: int) -> Floats:
    """Return how often each of ``n`` classes is drawn in each resample, divided by ``n``: (10,000, n)."""
    drawn = np.random.default_rng(seed).integers(0, n, size=(RESAMPLES, n))
    rows = np.repeat(np.arange(RESAMPLES), n)
    counts = np.bincount(rows * n + drawn.ravel(), minlength=RESAMPLES * n)
    return counts.reshape(RESAMPLES, n) / n


def bootstrap_interval(differences: Floats, *, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of the mean difference over classes.

    Classes are drawn with replacement 10,000 times by a generator seeded with ``seed``, so the same differences give
    the same interval. NaN with fewer than two classes.
    """
    if len(differences) < 2:
        return float("nan"), float("nan")
    means = _weights(len(differences), seed) @ differences
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], overwrite_input=True)
    return float(low), float(high)


def wilcoxon_p(differences: Sequence[Floats]) -> list[float]:
    """Return scipy's two-sided Wilcoxon signed-rank p of each array of paired differences.

    1 if all differences of an array are zero, NaN if it is empty. Arrays of equal length without zeros and ties are
    passed to scipy at once, which gives the same p, because only zeros and ties affect scipy's choice of the method.
    """
    from scipy.stats import wilcoxon

    found = [float("nan") if not len(values) else 1.0 for values in differences]
    together: dict[int, list[int]] = {}
    for place, values in enumerate(differences):
        if not values.any():
            continue
        sizes = np.unique(np.abs(values))
        if sizes[0] > 0 and len(sizes) == len(values):
            together.setdefault(len(values), []).append(place)
        else:
            found[place] = float(wilcoxon(values).pvalue)
    for places in together.values():
        several = wilcoxon(np.stack([differences[place] for place in places]), axis=1).pvalue
        for place, p in zip(places, several):
            found[place] = float(p)
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p values (S. Holm, 1979); NaN stays NaN and doesn't count as a test."""
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(p), np.nan)
    order = [index for index in np.argsort(p, kind="stable") if np.isfinite(p[index])]
    worst = 0.0
    for step, index in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - step) * p[index]))
        adjusted[index] = worst
    return [float(value) for value in adjusted]


def smallest_p(pairs: int) -> float:
    """Return the smallest two-sided p of an exact signed-rank test of this many pairs: 2 / 2^n."""
    return min(1.0, 2.0 / 2.0**pairs)


def smallest_after_holm(pairs: Sequence[int]) -> list[float]:
    """Return the smallest corrected p that each test of a family can have for any figures.

    Holm's adjusted p never decreases when another p of the family increases, so it is smallest if all of them are.

    Args:
        pairs: Number of pairs of each test; a test with 0 pairs doesn't count, and its p is NaN.
    """
    return holm([smallest_p(count) if count else float("nan") for count in pairs])


def versus(
    results: pd.DataFrame,
    baseline: str = "",
    *,
    methods: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    table: pd.DataFrame | None = None,
) -> Versus:
    """Compare each method with a baseline, for each dataset (and over all of them) and each metric.

    The block is the class: a pair is one class's value of the two methods, each the mean over its seeds. Classes in
    which either is undefined are left out of the pairs. Differences below 1e-12 are ties.

    Args:
        results: Result of ``prepare``.
        baseline: By default DiAD, else the first method.
        methods: Compare only these; Holm's correction then counts only these.
        metrics: Metric keys; all available ones by default.
        seed: Seed of the bootstrap.
        table: Result of ``aggregate`` for ``results``, if available.

    Returns:
        A frame that a notebook shows short. One row a (dataset, metric, method): ``pairs``, ``classes`` (how many
        either method was run on),
        ``method_mean``, ``baseline_mean`` (over the pairs), ``difference``, ``low`` and ``high`` (95 % bootstrap
        interval), ``wins``, ``ties``, ``losses``, ``effect`` (matched-pairs rank-biserial correlation, -1 to 1, the
        effect size of the test; NaN without a difference), ``p`` (Wilcoxon), ``p_holm`` (corrected over the methods
        of the same dataset and metric), ``p_least`` (the smallest that ``p_holm`` could have been with so many pairs
        and methods), ``significant`` (``p_holm`` below 0.05, where ``p_least`` is too), ``verdict`` (one sentence).
        Values lie in [-1, 1].

    Raises:
        UserError: Unknown method, or a name that several experiments have.
    """
    from diadbench.reports.tables.labels import known_metrics

    names = in_order(results, "method")
    baseline = default_baseline(names, baseline)
    others = [find_method(names, name) for name in methods or names]
    others = [name for name in others if name != baseline]
    table = aggregate(results) if table is None else table
    keys = list(metrics or known_metrics([key for key in results["metric"].unique() if key]))
    datasets, labels = in_order(results, "dataset"), labels_of(results)
    rows: list[dict[str, object]] = []
    differences: list[Floats] = []
    for dataset in [*datasets, ALL] if len(datasets) > 1 else datasets:
        for metric in keys:
            values = _wide(table, dataset, metric)
            ran = _classes_of(table, dataset, metric, labels)
            codes = class_codes(values, labels)
            for name in others:
                row, difference = _compare(values, codes, dataset, metric, name, baseline, seed)
                rows.append({**row, "classes": len(ran.get(name, set()) | ran.get(baseline, set()))})
                differences.append(difference)
    p = wilcoxon_p(differences)
    for first in range(0, len(rows), max(1, len(others))):
        group = slice(first, first + len(others))
        least = smallest_after_holm([len(values) for values in differences[group]])
        tests = sum(len(values) > 0 for values in differences[group])
        for row, uncorrected, corrected, bound in zip(rows[group], p[group], holm(p[group]), least):
            row.update(p=uncorrected, p_holm=corrected, p_least=bound)
            row["significant"] = bool(bound < ALPHA and corrected < ALPHA)
            row["verdict"] = verdict(row, tests)
    columns = ["dataset", "metric", "method", "baseline", "pairs", "classes", "method_mean", "baseline_mean",
               "difference", "low", "high", "wins", "ties", "losses", "effect", "p", "p_holm", "p_least", "significant",
               "verdict"]  # fmt: skip
    return Versus(rows, columns=columns)


def _wide(table: pd.DataFrame, dataset: str, metric: str) -> pd.DataFrame:
    rows = one_experiment_a_row(table[(table["scope"] == "class") & (table["metric"] == metric)])
    if dataset != ALL:
        rows = rows[rows["dataset"] == dataset]
    return rows.pivot(index=["dataset", "class"], columns="method", values="value")


def _classes_of(
    table: pd.DataFrame, dataset: str, metric: str, labels: Mapping[str, str]
) -> dict[str, set[tuple[str, str]]]:
    """Return for each method the (dataset, class) pairs that it was run on, whether or not it has a value."""
    rows = table[(table["scope"] == "class") & (table["metric"] == metric)]
    if dataset != ALL:
        rows = rows[rows["dataset"] == dataset]
    found: dict[str, set[tuple[str, str]]] = {}
    for method, *place in tuples(rows[["method", "dataset", "class"]]):
        found.setdefault(method, set()).add((labels.get(place[0], place[0]), place[1]))
    return found


def _compare(
    values: pd.DataFrame,
    codes: npt.NDArray[np.int64],
    dataset: str,
    metric: str,
    method: str,
    baseline: str,
    seed: int,
) -> tuple[dict[str, object], Floats]:
    ours, theirs = (
        values[name].to_numpy(float) if name in values else np.full(len(values), np.nan) for name in (method, baseline)
    )
    both = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = (each_once(figures[both], codes[both]) for figures in (ours, theirs))
    differences = np.round(ours - theirs, SAME) + 0.0
    low, high = bootstrap_interval(differences, seed=seed)
    some = len(differences) > 0
    row: dict[str, object] = {
        "dataset": dataset,
        "metric": metric,
        "method": method,
        "baseline": baseline,
        "pairs": len(differences),
        "method_mean": float(ours.mean()) if some else float("nan"),
        "baseline_mean": float(theirs.mean()) if some else float("nan"),
        "difference": float(differences.mean()) if some else float("nan"),
        "low": low,
        "high": high,
        "wins": int((differences > 0).sum()),
        "ties": int((differences == 0).sum()),
        "losses": int((differences < 0).sum()),
        "effect": rank_biserial(differences),
    }
    return row, differences


def rank_biserial(differences: Floats) -> float:
    """Return the matched-pairs rank-biserial correlation (D. S. Kerby, 2014): the signed-rank test's effect size.

    The share of the sum of ranks that speaks for the method, minus the share against it; zeros are left out, as the
    test does. 1 when all differences are positive, -1 when all are negative, NaN when none differs from zero.
    """
    some = differences[differences != 0]
    if not len(some):
        return float("nan")
    ranks = pd.Series(np.abs(some)).rank().to_numpy()
    return float((ranks * np.sign(some)).sum() / ranks.sum())


@dataclass(frozen=True)
class Ranks:
    """Mean ranks of methods over blocks (1 is best), and Nemenyi's critical difference.

    ``friedman_p`` and ``critical`` are NaN with fewer than three methods or two blocks.
    """

    mean_rank: pd.Series[float]
    blocks: int
    friedman_p: float
    critical: float


def ranks(results: pd.DataFrame, metric: str, alpha: float = ALPHA, table: pd.DataFrame | None = None) -> Ranks:
    """Rank all methods in every (dataset, class) where all of them have a value (J. Demsar, JMLR 2006)."""
    from scipy.stats import friedmanchisquare, studentized_range

    values = (
        _wide(aggregate(results) if table is None else table, ALL, metric)
        .reindex(columns=list(results["method"].unique()))
        .dropna()
    )
    codes = class_codes(values, labels_of(results))
    values = pd.DataFrame({name: each_once(values[name].to_numpy(float), codes) for name in values}).round(SAME)
    n, k = values.shape
    mean = values.rank(axis=1, ascending=False).mean() if n else pd.Series(dtype=float)
    if k < 3 or n < 2:
        return Ranks(mean.sort_values(), n, float("nan"), float("nan"))
    tied = bool((values.nunique(axis=1) == 1).all())  # nothing tells the methods apart; the statistic would be 0 / 0
    p = 1.0 if tied else float(friedmanchisquare(*(values[name].to_numpy() for name in values)).pvalue)
    q = float(studentized_range.ppf(1 - alpha, k, np.inf)) / np.sqrt(2)
    return Ranks(mean.sort_values(), n, p, float(q * np.sqrt(k * (k + 1) / (6 * n))))

"""``diadbench evaluate``."""

from __future__ import annotations

from diadbench.cli.messages import tell


def command(run: str, *, protocol: str, out: str | None = None) -> int:
    """Recompute the metrics of a run under another protocol, from kept maps and scores. No model runs.

    Args:
        run: A run directory whose cells kept their maps (keep_maps=float16 or float32).
        protocol: exact, ader, ader-grid, ader-adeval50, diad, uniad, mvtec, mvtec-ad-2, dinomaly or inp-former; metrics
            by name may follow, as in exact+aupro@0.05+aupimo.
        out: Directory for the result, a run directory of its own; RUN-PROTOCOL by default.

    Example::

        diadbench run demo keep_maps=float16
        diadbench evaluate runs/demo --protocol diad
    """
    from pathlib import Path

    from diadbench.benchmark.reuse.reevaluate import evaluate_run
    from diadbench.benchmark.runs.watch import Watch

    with Watch() as watch:
        made, left_out = evaluate_run(Path(run), protocol, Path(out) if out else None, watch.step)
    for line in left_out:
        tell(f"left out: {line}")
    print(f"results: {made.path / 'results.csv'}")
    return 1 if left_out else 0

"""``diadbench run``."""

from __future__ import annotations

from typing import Any, Literal


def command(
    grid: str,
    overrides: list[str],
    *,
    out: str | None = None,
    method: list[str] = [],  # noqa: B006 - never changed; a parser's default
    dataset: list[str] = [],  # noqa: B006
    overwrite: Literal["never", "stale", "failed", "always"] = "failed",
    jobs: int | None = None,
    engine: Literal["local", "ray", "slurm"] | None = None,
    dry_run: bool = False,
    budget: str | None = None,
    no_report: bool = False,
    quiet: bool = False,
) -> int:
    """Run a grid and build its report. What is finished is not run again, what was interrupted goes on.

    Args:
        grid: A packaged name (see `diadbench grids list`), a YAML file, or a run directory to go on with.
        overrides: Keys of the grid, as key=value with dots: seeds=[0,1] methods.patchcore.options.num_neighbors=5
        out: The run directory; runs/NAME by default.
        method: Add methods: a registered name, anomalib:NAME, or file.py:Class.
        dataset: Add datasets: a registered name, or file.py:Class.
        overwrite: Run again besides unfinished cells: never nothing; stale results of another configuration;
            failed these and failed or skipped cells; always everything.
        jobs: Cells at once.
        engine: Where cells run.
        dry_run: Print the plan and what it may cost, and run nothing.
        budget: Run only what is predicted to fit: 24h.
        no_report: Don't build the report at the end.
        quiet: Print the report's path only.

    Example::

        diadbench run demo
        diadbench run demo seeds=[0,1,2] --out runs/three-seeds --jobs 2
        diadbench run demo --method my_method.py:MyMethod
    """
    from diadbench.benchmark.planning.grid import load_grid, parse_overrides

    changes = parse_overrides(overrides)
    changes |= {key: value for key, value in (("jobs", jobs), ("engine", engine)) if value is not None}
    changes |= {f'methods."{_label(name)}"': {"method": name} for name in method}
    changes |= {f'datasets."{_label(name)}"': {"dataset": name} for name in dataset}
    checked = load_grid(grid, changes)
    if out is None and _is_run(grid):
        out = grid
    if dry_run:
        return _dry_run(checked, out, overwrite, budget)
    return _run(checked, out, overwrite, budget, no_report=no_report, quiet=quiet)


def _label(name: str) -> str:
    """Label of a method that is given by its file: the class's name."""
    return name.rpartition(":")[2] if ".py:" in name else name


def _is_run(grid: str) -> bool:
    from pathlib import Path

    return (Path(grid) / "grid.yaml").is_file()


def _run(checked: Any, out: str | None, overwrite: Any, budget: str | None, *, no_report: bool, quiet: bool) -> int:
    import sys

    from diadbench.benchmark.runs.runner import run_grid

    run = run_grid(checked, out, overwrite=overwrite, quiet=quiet, budget=budget)
    if run.interrupted:
        print(f"diadbench: interrupted; the same command, or `diadbench run {run.path}`, goes on", file=sys.stderr)
        return 130
    if not no_report:
        _report(run, quiet)
    if run.failed:
        print(
            f"diadbench: {len(run.failed)} of {len(run.states)} cells failed; see diadbench status {run.path}",
            file=sys.stderr,
        )
    return 1 if run.failed else 0


def _report(run: Any, quiet: bool) -> None:
    from diadbench import reports

    written = reports.build([run.path])
    if not quiet:
        print(f"results: {run.path / 'results.csv'}")
    print(f"report: {written['index.html']}")


def _dry_run(checked: Any, out: str | None, overwrite: Any, budget: str | None) -> int:
    from pathlib import Path

    from rich.console import Console

    from diadbench.benchmark.planning.forecast import plan_table, plan_title
    from diadbench.benchmark.planning.plan import make_plan
    from diadbench.benchmark.records.store import RunDirectory

    directory = RunDirectory(out if out is not None else Path("runs") / checked.name, must_exist=False)
    plan = make_plan(checked, directory, overwrite)
    print(plan_title(plan))
    Console().print(plan_table(plan, budget))
    return 0

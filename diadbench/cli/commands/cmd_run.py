"""``diadbench run``."""

from __future__ import annotations

from typing import Any, Literal

from diadbench.cli.messages import tell


def command(
    grid: list[str],
    *,
    out: str | None = None,
    method: list[str] = [],  # noqa: B006 - never changed; a parser's default
    dataset: list[str] = [],  # noqa: B006
    data_root: str | None = None,
    seeds: list[int] = [],  # noqa: B006
    only: list[str] = [],  # noqa: B006
    limit: int | None = None,
    overwrite: Literal["never", "stale", "failed", "always"] = "failed",
    jobs: int | None = None,
    engine: Literal["local", "ray", "slurm"] | None = None,
    dry_run: bool = False,
    skip_missing: bool = False,
    budget: str | None = None,
    no_report: bool = False,
    quiet: bool = False,
) -> int:
    """Run a grid and build its report. What is finished is not run again, what was interrupted goes on.

    Args:
        grid: A packaged name (see `diadbench grids list`), a YAML file, or a run directory to go on with; then keys of
            the grid as key=value with dots: 'seeds=[0,1]' methods.patchcore.options.neighbours=5. Without a grid,
            --method and --dataset say what is run.
        out: The run directory; runs/NAME by default.
        method: Add methods: a registered name, anomalib:NAME, or file.py:Class. What the grid has stays as it is.
        dataset: Add datasets: a registered name, or file.py:Class.
        data_root: Directory that holds the datasets.
        seeds: Seeds of the methods, with spaces between.
        only: Run the cells of these methods and datasets alone; the others wait.
        limit: For a quick look: at most so many training and test images of each class, normal and anomalous ones
            among these. Every table says so.
        overwrite: Run again besides unfinished cells: never nothing; stale results of another configuration;
            failed these and failed or skipped cells; always everything.
        jobs: Cells at once.
        engine: Where cells run.
        dry_run: Print the plan and what it may cost, and run nothing. The data need not be here.
        skip_missing: Run what is there; where data or a package are missing, tables say which.
        budget: Run only what is predicted to fit: 24h.
        no_report: Don't build the report at the end.
        quiet: Print the report's path only.

    Example::

        diadbench run demo
        diadbench run demo --seeds 0 1 2 --out runs/three-seeds --jobs 2
        diadbench run demo --method my_method.py:MyMethod --only MyMethod toy
        diadbench run --method patchcore-lite my_method.py:MyMethod --dataset mvtec visa --data-root /data
        diadbench run paper --data-root /data --dry-run
        diadbench run demo 'seeds=[0,1]' 'methods.patchcore.options.ratio=0.05' --limit 8
    """
    from diadbench.benchmark.planning.typed_grid import Typed, typed_grid

    given = {"data_root": data_root, "seeds": seeds or None, "limit": limit, "jobs": jobs, "engine": engine}
    typed = Typed(grid, method, dataset, {key: value for key, value in given.items() if value is not None})
    checked = typed_grid(typed, tell)
    if out is None and _is_run(typed.source):
        out = typed.source
    if dry_run:
        return _dry_run(checked, out, overwrite, budget, only)
    chosen = {"overwrite": overwrite, "budget": budget, "only": only, "skip_missing": skip_missing}
    return _run(checked, out, chosen, no_report=no_report, quiet=quiet)


def _is_run(grid: str) -> bool:
    from pathlib import Path

    return bool(grid) and (Path(grid) / "grid.yaml").is_file()


def _run(checked: Any, out: str | None, chosen: dict[str, Any], *, no_report: bool, quiet: bool) -> int:
    from diadbench.benchmark.runs.runner import run_grid

    if no_report:
        return _ended(run_grid(checked, out, quiet=quiet, **chosen), chosen)
    from diadbench.reports.page.growing import GrowingPage

    with GrowingPage() as page:
        run = run_grid(checked, out, quiet=quiet, follower=page, **chosen)
        if not run.interrupted:
            page.give_way()
            _report(run, quiet)
            page.whole()
    return _ended(run, chosen)


def _ended(run: Any, chosen: dict[str, Any]) -> int:
    if run.interrupted:
        tell(f"interrupted; the same command, or `diadbench run {run.path}`, goes on")
        return 130
    for line in run.left_out() if chosen["skip_missing"] else ():
        tell(f"left out: {line}")
    if run.failed:
        tell(f"{len(run.failed)} of {len(run.states)} cells failed; see diadbench status {run.path}")
    return 1 if run.failed else 0


def _report(run: Any, quiet: bool) -> None:
    from diadbench import reports

    written = reports.build([run.path])
    if not quiet:
        print(f"results: {run.path / 'results.csv'}")
    print(f"report: {written['index.html']}")


def _dry_run(checked: Any, out: str | None, overwrite: Any, budget: str | None, only: list[str]) -> int:
    from pathlib import Path

    from rich.console import Console

    from diadbench.benchmark.planning.forecast import plan_table, plan_title
    from diadbench.benchmark.planning.plan import make_plan
    from diadbench.benchmark.records.store import RunDirectory

    directory = RunDirectory(out if out is not None else Path("runs") / checked.name, must_exist=False)
    plan = make_plan(checked, directory, overwrite, only=only, missing="show")
    print(plan_title(plan, budget))
    Console().print(plan_table(plan, budget))
    for place, line in enumerate(plan.missing, 1):
        print(f"({place}) {line}")
    if checked.note:
        print(f"{checked.name}: {' '.join(checked.note.split())}")
    return 0

"""``diadbench doctor``."""

from __future__ import annotations

from diadbench.cli.messages import tell
from diadbench.common.errors import UserError


def command(
    grid: list[str], *, data_root: str | None = None, full: bool = False, json: bool = False, issue: bool = False
) -> int:
    """Look whether a grid can run here, whether this device computes the right numbers, and what the grid costs.

    Software against its bounds, weights, data, golden numbers of DiAD and UniAD, a training step and a prediction of
    each method at full size, hours, memory and disk. Takes at most 5 minutes; what didn't fit into them is said. The
    speeds are what `diadbench run --dry-run` forecasts from where no cell has run. The verdict at the end tells what is
    wrong with this machine apart from what the grid still needs, such as weights and data, and says how to get it. Exit
    code 1: something fails. The grid `demo` needs no weights or data but the packages of the extra demo.

    Args:
        grid: A packaged name, a YAML file or a run directory, then keys as key=value; by default the grid paper.
        data_root: Directory that holds the datasets.
        full: Let each method's trial go on to its end, for at most an hour each.
        json: Print JSON.
        issue: Print a text to paste into an issue.

    Example::

        diadbench doctor
        diadbench doctor demo
        diadbench doctor paper device=cpu threads=8 --data-root /data --json > doctor.json
    """
    from diadbench.benchmark.doctor.finding import Finding
    from diadbench.benchmark.doctor.software import absent_packages
    from diadbench.common.wording import counted, some

    if absent := absent_packages():  # without them nothing else can be looked at
        count = counted(len(absent), "required package isn't installed", "required packages aren't installed")
        raise UserError(f"{count}: {some((each.advice for each in absent), sep='; ', room=200)}")
    from diadbench.benchmark.doctor.examine import examine
    from diadbench.benchmark.planning.typed_grid import Typed, typed_grid
    from diadbench.common.processes.interrupt import as_ctrl_c

    words = grid if grid and "=" not in grid[0] else ["paper", *grid]
    given = {} if data_root is None else {"data_root": data_root}
    checked = typed_grid(Typed(words, [], [], given), tell)

    def told(finding: Finding) -> None:
        if not json and not issue:
            print(finding.line(), flush=True)

    with as_ctrl_c():  # a trial under way ends with us, at SIGTERM too
        found = examine(checked, full=full, tell=told)
    if json:
        print(found.to_json())
    elif issue:
        print(found.to_issue())
    else:
        failed = len(found.failed)
        print(f"\n{failed or 'nothing'} of {len(found.findings)} failed; {found.seconds:.0f} s", flush=True)
        print(*found.verdict.lines(), sep="\n")
    return 1 if found.failed else 0

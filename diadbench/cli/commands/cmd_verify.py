"""``diadbench verify``."""

from __future__ import annotations


def command(run: str, *, root: list[str] = [], json: bool = False) -> int:  # noqa: B006 - read only
    """Check a run or a pack: are its figures what its scores and maps give, does all that it says agree?

    Exit code 1 where anything is found. Nothing that the run holds is executed. Who made up a whole run consistently is
    found out by running one of its cells again (diadbench rerun).

    Args:
        run: Run directory or pack.
        root: Where data lie here, as LABEL=PATH; else where the cells found them.
        json: Print what was found as JSON.

    Example::

        diadbench verify submission.tar.gz --root mvtec=/data/mvtec
    """
    import json as writer
    from dataclasses import asdict
    from pathlib import Path

    from diadbench.benchmark.sharing.verifying import verify
    from diadbench.cli.terminal_bar import terminal_bar
    from diadbench.common.errors import UserError
    from diadbench.common.wording import counted, some

    roots = dict(text.partition("=")[::2] for text in root)
    for label, place in roots.items():
        if not place:
            raise UserError(f"--root {label}: expected LABEL=PATH")
    with terminal_bar(json, what="verify") as progress:
        found = verify(Path(run), roots, progress)
    if json:
        print(writer.dumps(asdict(found), indent=1))
        return 1 if found.findings else 0
    for why, cells in found.unchecked.items():
        print(f"not checked: {some(cells, most=2)}: {why}")
    for finding in found.findings:
        print(f"found: {finding}")
    print(f"{counted(found.cells, 'cell')}, {len(found.findings) or 'nothing'} found")
    return 1 if found.findings else 0

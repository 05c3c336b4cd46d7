"""``diadbench report``."""

from __future__ import annotations

from diadbench.cli.command_words import single_words
from diadbench.cli.show_options import displayed
from diadbench.common.show import Show
from diadbench.common.wording import counted


@displayed()
def command(
    runs: list[str],
    *,
    format: list[str] = [],  # noqa: B006 - the default of an option, which nothing changes
    out: str | None = None,
    protocol: str = "",
    mix_protocols: bool = False,
    seed: int = 0,
    colours: bool = False,
    show: Show,
) -> int:
    """Build the report of one or several runs: workbook, LaTeX, Markdown, CSV, figures and one HTML page.

    Args:
        runs: Run directories.
        format: Of xlsx, latex, markdown, csv, figures, html, with spaces or commas between; all by default.
        out: Where to; RUN/report by default.
        protocol: Use the results of this protocol alone.
        mix_protocols: Let results of several protocols share a table.
        seed: Seed of the bootstrap.
        colours: Shade best and second best in LaTeX too.

    Example::

        diadbench report runs/demo
        diadbench report runs/a runs/b --format xlsx,latex --baseline UniAD --out paper/
    """
    from diadbench.common.errors import UserError
    from diadbench.reports.make_report import build

    if not runs:
        raise UserError("report: give at least one run directory")
    written = build(
        runs,
        single_words(format) or None,
        out,
        protocol=protocol,
        mix_protocols=mix_protocols,
        seed=seed,
        colours=colours,
        show=show,
    )
    best = next((name for name in ("index.html", "results.xlsx", "main.tex") if name in written), next(iter(written)))
    print(f"report: {written[best]} ({counted(len(written), 'file')})")
    return 0

"""``diadbench table``."""

from __future__ import annotations

from diadbench.cli.command_words import single_words
from diadbench.cli.show_options import displayed
from diadbench.common.show import FIGURES, KEYS, Show


@displayed(*(key for key in KEYS if key not in FIGURES))
def command(
    runs: list[str],
    *,
    rows: list[str] = [],  # noqa: B006 - the default of an option, which nothing changes
    columns: list[str] = [],  # noqa: B006
    metrics: list[str] = [],  # noqa: B006
    format: str = "terminal",
    out: str | None = None,
    protocol: str = "",
    mix_protocols: bool = False,
    colours: bool = False,
    two_columns: bool = False,
    thresholds: bool = False,
    show: Show,
) -> int:
    """Print one's own cut of the results.

    Args:
        runs: Run directories.
        rows: Of method, dataset, class, seed, shots, metric, with spaces or commas between; method by default.
        columns: The same, dataset by default; metric is added when it stands in neither.
        metrics: Metric keys (i_auroc p_ap ...); the seven and mAD by default.
        format: terminal, latex, markdown, csv or xlsx.
        out: File to write to; needed for xlsx.
        protocol: Use the results of this protocol alone.
        mix_protocols: Let results of several protocols share the table.
        colours: Shade best and second best in LaTeX.
        two_columns: A LaTeX table over both columns of the page.
        thresholds: What thresholds do, for each class and one for all, and all classes as one set, instead of a cut.

    Example::

        diadbench table runs/demo --rows method --columns dataset --metrics i_auroc,p_ap
        diadbench table runs/demo --rows class --columns method --metrics i_auroc --datasets toy --format latex
        diadbench table runs/few-shot --rows method --columns shots --metrics i_auroc --datasets mvtec
        diadbench table runs/demo --thresholds
    """
    if thresholds:
        from diadbench.reports.print_thresholds import print_thresholds

        print_thresholds(runs, show=show, form=format, out=out, protocol=protocol, mix_protocols=mix_protocols)
        return 0
    from diadbench.reports.terminal import print_table

    print_table(
        runs,
        rows=single_words(rows) or ["method"],
        columns=single_words(columns) or ["dataset"],
        metrics=single_words(metrics),
        show=show,
        form=format,
        out=out,
        protocol=protocol,
        mix_protocols=mix_protocols,
        colours=colours,
        two_columns=two_columns,
    )
    return 0

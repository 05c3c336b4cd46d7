"""``diadbench compare``."""

from __future__ import annotations

from diadbench.cli.command_words import single_words
from diadbench.cli.show_options import displayed
from diadbench.common.show import Show


@displayed("names", "datasets", "classes", "drop", "sort", "digits", "ours", "baseline")
def command(
    runs: list[str],
    *,
    method: list[str] = [],  # noqa: B006 - the default of an option, which nothing changes
    metrics: list[str] = [],  # noqa: B006
    format: str = "terminal",
    protocol: str = "",
    mix_protocols: bool = False,
    seed: int = 0,
    show: Show,
) -> int:
    """Compare methods with a baseline, class by class: difference, bootstrap interval, wins, Wilcoxon with Holm.

    Args:
        runs: Run directories.
        method: Compare these, with spaces or commas between; all by default. Holm's correction counts what is compared.
        metrics: Metric keys; the seven and mAD by default.
        format: terminal, csv or markdown.
        protocol: Use the results of this protocol alone.
        mix_protocols: Let results of several protocols be compared.
        seed: Seed of the bootstrap.

    Example::

        diadbench compare runs/demo --method patchcore --baseline padim --metrics i_auroc
    """
    from diadbench.reports.terminal import print_comparison

    print_comparison(
        runs,
        methods=single_words(method),
        metrics=single_words(metrics),
        form=format,
        protocol=protocol,
        mix_protocols=mix_protocols,
        seed=seed,
        show=show,
    )
    return 0

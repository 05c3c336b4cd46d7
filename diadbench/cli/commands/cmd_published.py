"""``diadbench published``."""

from __future__ import annotations


def list_published(*, dataset: str = "", method: str = "") -> int:
    """List published figures, and what arithmetic says against them.

    Args:
        dataset: Keep this dataset.
        method: Keep this method.

    Example::

        diadbench published list --dataset mvtec --method DiAD
    """
    from diadbench.reports.terminal import print_published

    print_published(dataset, method)
    return 0


def add_published(file: str) -> int:
    """Import published figures from a CSV, check them, and show them in every report from then on.

    Columns: source, method, dataset (needed), source_ref, venue, setting, resolution, epochs, note, and the metrics
    in percent: i_auroc, i_ap, i_f1max, p_auroc, p_ap, p_f1max, aupro, p_ioumax, mad.

    Args:
        file: The CSV.

    Example::

        diadbench published add my_paper_table.csv
    """
    import sys
    from pathlib import Path

    from diadbench.reports.published.literature import add, user_file

    added, warnings = add(Path(file))
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
    print(f"{len(added)} row{'' if len(added) == 1 else 's'} added to {user_file()}")
    return 0


VERBS = {"list": list_published, "add": add_published}

"""``diadbench status``."""

from __future__ import annotations


def command(run: str, *, follow: bool = False, json: bool = False, interval: float = 2.0, every: bool = False) -> int:
    """Show how a run goes: done, running with progress, failed with the reason, waiting.

    Args:
        run: The run directory.
        follow: Show it again and again until nothing runs and no runner is there.
        json: Print JSON.
        interval: Seconds between two looks of --follow.
        every: Print every cell; by default 200, first those that run or have failed, and how many there are besides.

    Example::

        diadbench status runs/demo --follow
    """
    from diadbench.benchmark.runs.status import show

    return show(run, follow=follow, as_json=json, interval=interval, every=every)

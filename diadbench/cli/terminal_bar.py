"""A progress bar on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def terminal_bar(
    quiet: bool, sizes: bool = False, what: str = "reading"
) -> Iterator[Callable[[int, int, str], None] | None]:
    """Show a bar on the terminal's standard error, with sizes and speed if ``sizes``; nothing without a terminal."""
    import sys

    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    columns = [*Progress.get_default_columns(), *([DownloadColumn(), TransferSpeedColumn()] if sizes else [])]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def tell(done: int, total: int, now: str) -> None:
            bar.update(task, completed=done, total=total or None, description=now or what)

        yield tell

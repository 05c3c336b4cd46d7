"""A progress bar on the terminal's standard error, for commands that take a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int, str], None] | None]:
    """Show a bar; ``None`` in its place where there is no terminal, or nothing shall be shown.

    Args:
        what: Stands beside the bar until the work says something else.
        quiet: Show nothing.
    """
    import sys

    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def tell(done: int, total: int, now: str) -> None:
            bar.update(task, completed=done, total=total, description=now or what)

        yield tell

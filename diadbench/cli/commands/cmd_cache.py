"""``diadbench cache``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from diadbench.common.wording import counted

if TYPE_CHECKING:
    from diadbench.common.cache.inventory import Entry


def list_cache(*, kind: str | None = None, json: bool = False) -> int:
    """List what lies in the cache directory: kind, size, when it was last used, whether a process uses it now.

    Everything there can be made again. The directory is DIADBENCH_CACHE, by default ~/.cache/diadbench.

    Args:
        kind: This kind only: images, features, latents, coco_ad, masks, toy, samples, anomalib, digests, resolved
            or costs.
        json: Print JSON.

    Example::

        diadbench cache list
        diadbench cache list --kind images
    """
    from diadbench.common.cache.disk_space import shown_bytes
    from diadbench.common.cache.inventory import entries
    from diadbench.common.files import cache_dir

    found = entries(cache_dir(), kind)
    if json:
        _print_json(found)
        return 0
    _print_table(found)
    print(
        f"{cache_dir()}: {shown_bytes(sum(entry.size for entry in found))} in {counted(len(found), 'entry', 'entries')}"
    )
    return 0


def clear(*, unused_for: str | None = None, kind: str | None = None, dry_run: bool = False) -> int:
    """Free the cache directory. What a running process uses or builds stays.

    Args:
        unused_for: Remove only what was not used for so long: a number and m, h, d or w, such as 30d.
        kind: This kind only: images, features, latents, coco_ad, masks, toy, samples, anomalib, digests, resolved
            or costs.
        dry_run: Remove nothing; show what would be removed.

    Example::

        diadbench cache clear --unused-for 30d --dry-run
        diadbench cache clear --kind images
    """
    from diadbench.cli.terminal_bar import terminal_bar
    from diadbench.common.cache.clearing import clear as clear_cache
    from diadbench.common.cache.disk_space import shown_bytes
    from diadbench.common.files import cache_dir

    with terminal_bar(False, what="clearing the cache") as tell:
        progress = (lambda done, total: tell(done, total, "")) if tell else None
        done = clear_cache(cache_dir(), kind=kind, unused_for=unused_for, dry_run=dry_run, progress=progress)
    _print_table(done.removed)
    removed = counted(len(done.removed), "entry", "entries")
    print(f"{'would free' if dry_run else 'freed'} {shown_bytes(done.freed)} ({removed})")
    if done.kept:
        size = shown_bytes(sum(entry.size for entry in done.kept))
        print(f"kept {size} ({counted(len(done.kept), 'entry', 'entries')}) that running processes use")
    return 0


def _print_table(entries: list[Entry]) -> None:
    from datetime import datetime

    from diadbench.common.cache.disk_space import shown_bytes

    if entries:
        print(f"{'kind':<10}{'size':>10}  {'last used':<18}{'in use':<8}what")
    for entry in entries:
        used = datetime.fromtimestamp(entry.last_used).strftime("%Y-%m-%d %H:%M")
        busy = "yes" if entry.in_use else "no"
        print(f"{entry.kind:<10}{shown_bytes(entry.size):>10}  {used:<18}{busy:<8}{entry.about}")


def _print_json(entries: list[Entry]) -> None:
    from dataclasses import asdict
    from json import dumps

    print(dumps([asdict(entry) for entry in entries], indent=2, default=str, ensure_ascii=False))


VERBS: dict[str, Callable[..., Any]] = {"list": list_cache, "clear": clear}

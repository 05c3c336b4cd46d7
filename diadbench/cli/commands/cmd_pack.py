"""``diadbench pack``."""

from __future__ import annotations


def command(run: str, *, out: str | None = None) -> int:
    """Write a run as one archive, for another machine: report, predict and go on with it there.

    Args:
        run: The run directory; nothing may run in it.
        out: The archive, with the ending .tar, .tar.gz or .tar.xz; RUN.tar by default.

    Example::

        diadbench pack runs/demo --out demo.tar.gz
            diadbench report demo    # after `tar xf demo.tar.gz` on the other machine
        diadbench run demo datasets.mvtec.root=/data/mvtec    # goes on there
    """
    from pathlib import Path

    from diadbench.benchmark.sharing.pack import pack

    made = pack(Path(run), Path(out) if out else None)
    print(f"archive: {made} ({made.stat().st_size / 1e6:.1f} MB); `tar xf` unpacks it")
    return 0

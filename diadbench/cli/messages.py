"""What commands say besides their output."""

from __future__ import annotations

import sys


def tell(line: str) -> None:
    """Write one line on standard error, with the program's name before it."""
    print(f"diadbench: {line}", file=sys.stderr)

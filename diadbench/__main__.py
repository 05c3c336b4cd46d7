"""``python -m diadbench``."""

from __future__ import annotations

import sys

from diadbench.cli import main

if __name__ == "__main__":
    sys.exit(main())

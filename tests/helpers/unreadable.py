"""Run a test's program as somebody whom file modes bind, although the tests may run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_CAPS = "-dac_override,-dac_read_search"
#: Root without the rights to pass over file modes is bound by them; another user is bound anyway.
BOUND = ["setpriv", f"--bounding-set={_CAPS}", f"--inh-caps={_CAPS}"] if os.geteuid() == 0 else []
needs_bound = pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may read everything, and there is no setpriv"
)


def bound(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a Python program whom file modes bind, and return what it printed."""
    command = [*BOUND, sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)

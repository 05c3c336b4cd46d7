"""Peak memory counts a cell's own pages, and the machine's load is kept with it."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from diadbench.benchmark.cells import meter
from diadbench.benchmark.cells.meter import Meter, cells_here, own_bytes

MIB = 2**20
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells shared pages apart")


@linux
def test_mapped_files_do_not_count_and_own_memory_does(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    path.write_bytes(bytes(200 * MIB))
    start, resident = own_bytes(os.getpid()), psutil.Process().memory_info().rss
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert np.frombuffer(mapped, np.uint8).sum() == 0  # every page is resident now
        assert psutil.Process().memory_info().rss - resident > 150 * MIB
        assert own_bytes(os.getpid()) - start < 60 * MIB
    own = np.ones(100 * MIB, np.uint8)
    assert own_bytes(os.getpid()) - start > 80 * MIB
    assert own[-1] == 1


def test_the_memory_of_children_counts() -> None:
    code = "import sys; held = b'x' * (150 << 20); print('ready', flush=True); sys.stdin.read()"
    with Meter() as measured:
        before = own_bytes(os.getpid())
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            while measured._peak < before + 100 * MIB:  # the thread looks every tenth of a second
                time.sleep(0.05)
            child.communicate()
    found = measured.result()
    assert found["peak_memory"]["cpu_bytes"] > before + 100 * MIB
    assert found["peak_memory"]["counts"] == ("own pages" if sys.platform == "linux" else "resident pages")


def test_the_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter([(1.0, 0, 0), (3.0, 0, 0)])
    counts = iter([1, 2])
    monkeypatch.setattr(meter.os, "getloadavg", lambda: next(loads))
    monkeypatch.setattr(meter, "cells_here", lambda: next(counts))
    with Meter() as measured:
        pass
    assert measured.result()["machine"] == {"load": 2.0, "cells": 1.5, "cores": os.cpu_count()}


def test_cells_of_any_run_are_counted() -> None:
    before = cells_here()
    word = "import sys; print('ready', flush=True); sys.stdin.read()  # diadbench.benchmark.cells.worker"
    with subprocess.Popen([sys.executable, "-c", word], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one:
        with subprocess.Popen([sys.executable, "-c", word], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as two:
            for process in (one, two):
                assert process.stdout is not None
                process.stdout.readline()
            assert cells_here() >= 2
            two.communicate()
        one.communicate()
    assert before >= 1

"""On PYTHONPATH, this makes the cell's process cheap: no torch, and a cell that does what its cell.yaml says.

Everything else of the process is real: its lock, its states, its limits, its signals.
"""

import sys

if "diadbench.benchmark.cells.worker" in sys.orig_argv:
    import os
    import signal
    import time
    import types
    from pathlib import Path

    torch = types.ModuleType("torch")
    torch.set_num_threads = lambda threads: None
    torch.cuda = types.SimpleNamespace(OutOfMemoryError=type("OutOfMemoryError", (RuntimeError,), {}))
    torch.cuda.is_available = lambda: False
    sys.modules["torch"] = torch

    def run_cell(record, progress):
        try:
            return do(record, progress)
        except BaseException:
            time.sleep(record.config.get("does", {}).get("linger", 0))  # as long as it takes to write a checkpoint
            raise

    def do(record, progress):
        does = record.config.get("does", {})
        with open(record.directory / "trace", "a") as trace:
            trace.write("start\n")
        steps = int(does.get("sleep", 0) / 0.02)
        # what a method's training checkpoint is: a file that a second try goes on from
        mark = record.directory / "scratch" / "step"
        mark.parent.mkdir(exist_ok=True)
        begin = int(mark.read_text()) if mark.is_file() else 0
        for step in range(begin, steps):
            progress(step, steps, "sleep")
            # whole or not at all: a SIGTERM between opening and writing would leave an empty checkpoint
            mark.with_suffix(".new").write_text(str(step))
            mark.with_suffix(".new").replace(mark)
            while step == does.get("wait_at") and not begin:
                time.sleep(0.02)  # the first try comes no further: whoever wants to end it has all the time
            time.sleep(0.02)
        if begin:
            with open(record.directory / "trace", "a") as trace:
                trace.write(f"resumed {begin}\n")
        if "allocate" in does:
            held = bytearray(int(does["allocate"]))
            held[::4096] = b"x" * len(held[::4096])
            time.sleep(does.get("hold", 5))
        if does.get("hang"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        if "exit" in does:
            os._exit(does["exit"])
        if "kill" in does:
            os.kill(os.getpid(), does["kill"])
        if "raise" in does:
            raise RuntimeError(does["raise"])
        if "weigh" in does:
            (record.directory / "checkpoint").mkdir(exist_ok=True)
            (record.directory / "checkpoint" / "weights").write_bytes(b"weights" * (int(does["weigh"]) // 7))
        Path(record.directory / "metrics.csv").write_text("class,scope,metric,value\n" + does.get("rows", ""))
        with open(record.directory / "trace", "a") as trace:
            trace.write("end\n")
        return {
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "pid": os.getpid(),
            "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }

    cell = types.ModuleType("diadbench.benchmark.cells.cell")
    cell.run_cell = run_cell
    sys.modules["diadbench.benchmark.cells.cell"] = cell

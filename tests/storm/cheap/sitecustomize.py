"""On PYTHONPATH, this makes a grid's processes start in a moment: a cell without torch in place of the real one.

Runner, engine, worker process, locks, states, store and the shared cache are the real ones. The cell reads a shared
cache file row by row, as slowly as it is told, and its metrics are a function of every byte that it read.
"""

import sys

if "diadbench.benchmark.cells.worker" in sys.orig_argv or "diadbench" in sys.orig_argv:
    import time
    import types

    def shared(progress):
        import numpy as np

        from diadbench.common.cache.arrays import ArrayPlan, build
        from diadbench.common.files import cache_dir
        from diadbench.datasets.decoding.workers import Problems, in_threads

        def make(row):
            time.sleep(0.02)
            return np.random.default_rng(row).integers(0, 255, (2, 4096), dtype=np.uint8), None

        fill = in_threads(make, 1, Problems())
        return build(ArrayPlan(cache_dir() / "storm" / "shard", 8, (2, 4096), "uint8", fill), progress)

    def open_data(dataset, cell, mask_rule, progress):
        shared(progress)

    def run_cell(record, progress):
        cell = record.config
        options = cell["method_options"]
        array = shared(progress)
        scratch = record.directory / "scratch"
        scratch.mkdir(exist_ok=True)
        total = 0
        try:
            for row in range(len(array)):
                progress(row, len(array), "fit")
                (scratch / "row").write_text(str(row))
                time.sleep(options["seconds"] / len(array))
                total += int(array[row].sum())
        except BaseException:
            time.sleep(options["lingers"])  # as a cell does that still writes a checkpoint
            raise
        value = (total * (1 + cell["seed"]) * options["scale"]) % 1.0
        from diadbench.common.files import write_text

        head = "class,scope,metric,value,reason,n_normal,n_anomalous,n_defined,n_classes\n"
        rows = "".join(f"mean,mean,{name},{value / k!r},,1,1,1,1\n" for k, name in enumerate(("mAD", "mAP_P"), 1))
        write_text(record.directory / "metrics.csv", head + rows)
        return {"protocol": cell["protocol"], "notes": []}

    torch = types.ModuleType("torch")
    torch.set_num_threads = lambda threads: None
    torch.cuda = types.SimpleNamespace(OutOfMemoryError=type("OutOfMemoryError", (RuntimeError,), {}))
    torch.cuda.is_available = lambda: False
    sys.modules["torch"] = torch
    cell = types.ModuleType("diadbench.benchmark.cells.cell")
    cell.run_cell, cell.open_data = run_cell, open_data
    sys.modules["diadbench.benchmark.cells.cell"] = cell

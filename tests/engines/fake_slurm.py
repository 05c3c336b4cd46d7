"""sbatch, sacct, scontrol and scancel that run job arrays on this machine, as far as submitit uses them.

Installed by :func:`install` as executables. State is a file for each task in ``$FAKE_SLURM``.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path


def install(folder: Path) -> None:
    folder.mkdir()
    for name in ("sbatch", "sacct", "scontrol", "scancel", "srun"):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -P {__file__} {name} "$@"\n')
        path.chmod(0o755)


def sbatch(home: Path, arguments: list[str]) -> None:
    script = Path(arguments[-1])
    text = script.read_text()
    number = 100 + len(list(home.glob("*.sh")))
    (home / f"{number}.sh").write_text(text)
    array = re.search(r"--array=0-(\d+)%(\d+)", text)
    tasks = range(int(array[1]) + 1) if array else [None]
    command = [sys.executable, "-P", __file__, "controller", str(number), str(len(tasks)), array[2] if array else "0"]
    subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"Submitted batch job {number}")


def controller(home: Path, arguments: list[str]) -> None:
    """Run an array's tasks, no more than its cap at once; queue a task again that asked for it."""
    number, count, cap = (int(word) for word in arguments)
    names = [f"{number}_{task}" if cap else str(number) for task in range(count)]
    waiting, running = list(names), {}
    while waiting or running:
        while waiting and len(running) < (cap or 1):
            name = waiting.pop(0)
            variables = {"SLURM_JOB_ID": name.replace("_", ""), "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
            variables |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NUM_NODES": "1"}
            if cap:
                variables |= {"SLURM_ARRAY_JOB_ID": str(number), "SLURM_ARRAY_TASK_ID": name.split("_")[1]}
            else:
                variables["SLURM_JOB_ID"] = name
            process = subprocess.Popen(["bash", str(home / f"{number}.sh")], env={**os.environ, **variables})
            running[name] = process
            (home / f"{name}.state").write_text(f"RUNNING {process.pid}")
            at_once = sum(path.read_text().startswith("RUNNING") for path in home.glob("*.state"))  # of all arrays
            with open(home / "at_once", "a") as file:
                file.write(f"{at_once}\n")
        for name in list(running):
            code = running[name].poll()
            if code is None:
                continue
            del running[name]
            if (home / f"{name}.requeue").is_file():
                (home / f"{name}.requeue").unlink()
                waiting.append(name)
                (home / f"{name}.state").write_text("PENDING 0")
            else:
                (home / f"{name}.state").write_text(("COMPLETED" if code == 0 else "FAILED") + " 0")
        time.sleep(0.05)


def sacct(home: Path, arguments: list[str]) -> None:
    print("JobID|State|NodeList")
    for path in sorted(home.glob("*.state")):
        print(f"{path.stem}|{path.read_text().split()[0]}|here")


def scontrol(home: Path, arguments: list[str]) -> None:
    assert arguments[0] == "requeue"
    (home / f"{arguments[1]}.requeue").touch()


def scancel(home: Path, arguments: list[str]) -> None:
    for path in home.glob("*.state"):
        state, process = path.read_text().split()
        if state == "RUNNING" and path.stem.split("_")[0] in {word.split("_")[0] for word in arguments}:
            os.kill(int(process), signal.SIGTERM)


def srun(home: Path, arguments: list[str]) -> None:
    words = list(arguments)
    while words[0].startswith("--"):
        flag = words.pop(0)
        if flag in ("--output", "--error"):
            words.pop(0)
    os.execvp(words[0], words)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(os.environ["FAKE_SLURM"]), sys.argv[2:])

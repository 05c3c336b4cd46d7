"""Examine this machine for a grid, part by part, within a limit of time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from diadbench.benchmark.doctor.bill import Machine, Share, bill, jobs_here
from diadbench.benchmark.doctor.data_roots import Images, look_at_data
from diadbench.benchmark.doctor.finding import Finding
from diadbench.benchmark.doctor.golden_numbers import Through, look_at_numbers
from diadbench.benchmark.doctor.pretrained import look_for_weights
from diadbench.benchmark.doctor.software import VersionOf, look_at_device, look_at_software
from diadbench.benchmark.doctor.trials import Wanted, can_be_tried, cheap_first, known_need, try_method
from diadbench.benchmark.doctor.verdict import Verdict
from diadbench.benchmark.planning.grid import Grid
from diadbench.benchmark.planning.resolving.resolve import ResolvedMethod, resolve_method
from diadbench.benchmark.planning.speeds import Speed, keep_speed, kept_speed
from diadbench.common.errors import UserError
from diadbench.version import __version__

#: Seconds that an examination takes at most, unless it is full: 5 minutes less what is left to write it down.
LIMIT = 270.0
#: Share of the time that is left that one method may take while others wait.
_TURN = 0.6


@dataclass
class Examination:
    """What was found.

    Attributes:
        grid: Name of the grid.
        findings: In the order of the parts.
        seconds: What it took.
    """

    grid: str
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> list[Finding]:
        """Findings by which the grid can't run here, or not rightly."""
        return [finding for finding in self.findings if finding.state == "fail"]

    @property
    def verdict(self) -> Verdict:
        """What the findings come to: the machine apart from what the grid needs."""
        return Verdict.of(self.grid, self.findings)

    def to_json(self) -> str:
        """Return all of it for programs."""
        head = {"diadbench": __version__, "grid": self.grid, "seconds": round(self.seconds, 1), "ok": not self.failed}
        verdict = {"machine_ok": not self.verdict.wrong, "grid_ok": not self.verdict.missing}
        whole = {**head, **verdict, "verdict": self.verdict.lines(), "findings": [asdict(e) for e in self.findings]}
        return json.dumps(_plain(whole), indent=2, ensure_ascii=False)

    def to_issue(self) -> str:
        """Return a text to paste into an issue: Markdown without names of the user's folders."""
        from pathlib import Path

        told = [*(finding.line() for finding in self.findings), "", *self.verdict.lines()]
        lines = [line.replace(str(Path.home()), "~") for line in told]
        head = f"diadbench {__version__}, `diadbench doctor {self.grid}`, {self.seconds:.0f} s"
        return "\n".join([f"<details><summary>{head}</summary>", "", "```text", *lines, "```", "", "</details>"])


def examine(
    grid: Grid,
    *,
    full: bool = False,
    limit: float = LIMIT,
    tell: Callable[[Finding], None] = lambda finding: None,
    version_of: VersionOf | None = None,
    through: Through | None = None,
) -> Examination:
    """Examine this machine for a grid.

    Args:
        grid: The checked grid.
        full: Try each method to the end, whatever time it takes (at most an hour each).
        limit: Seconds for everything, where it isn't full.
        tell: Gets each finding as soon as there is one.
        version_of: Returns versions of distributions, in place of the installed ones.
        through: What becomes of each computed number before it is compared.
    """
    started = time.monotonic()
    found = Examination(grid.name)
    for finding in _parts(grid, started + limit, full=full, version_of=version_of, through=through):
        found.findings.append(finding)
        tell(finding)
    found.seconds = time.monotonic() - started
    return found


def _parts(
    grid: Grid, end: float, *, full: bool, version_of: VersionOf | None, through: Through | None
) -> Iterator[Finding]:
    yield from look_at_software(*([version_of] if version_of else []))
    device, findings = look_at_device(grid.device)
    yield from findings
    if grid.device != "auto" and device != grid.device:
        grid = dataclasses.replace(grid, device=device)
    methods, findings = _resolved(grid)
    yield from findings
    yield from look_for_weights({label: (each.identity, each.options) for label, each in methods.items()})
    findings, images = look_at_data(grid)
    yield from findings
    with _threads_of_cells(_threads(grid, device)):
        found = look_at_numbers(device, *([through] if through else []))
    yield from found
    speeds: dict[str, Speed | None] = {}
    for finding, label, speed in _tried(grid, methods, device, end, full=full):
        speeds[label] = speed
        yield finding
    jobs = jobs_here(grid.jobs)
    height, width = grid.evaluated_at
    shares = [
        dataclasses.replace(
            _share(grid, label, each, speeds.get(label), images), needs=known_need(each.identity, each.options, device)
        )
        for label, each in methods.items()
    ]
    yield from bill(shares, Machine.here(device), jobs=jobs, pixels=height * width, keep_maps=grid.keep_maps)


def _resolved(grid: Grid) -> tuple[dict[str, ResolvedMethod], list[Finding]]:
    """Return the methods with all their options; what can't be one is a finding."""
    methods, findings = {}, []
    for label, spec in grid.methods.items():
        try:
            methods[label] = resolve_method(spec.method, spec.options, f"methods.{label}")
        except UserError as error:
            findings.append(Finding("methods", label, "fail", str(error), "or leave the method out of the grid"))
    return methods, findings


def _tried(
    grid: Grid, methods: Mapping[str, ResolvedMethod], device: str, end: float, *, full: bool
) -> Iterator[tuple[Finding, str, Speed | None]]:
    """Try the methods, what is cheap first; speeds are kept for ``--dry-run``."""
    threads = _threads(grid, device)
    wanted = [
        Wanted(
            label,
            each.identity,
            each.options,
            grid.size_for(grid.methods[label]),
            grid.test_batch,
            device,
            threads,
            grid.tf32,
        )
        for label, each in methods.items()
    ]
    ordered = cheap_first(wanted)
    for place, each in enumerate(ordered):
        left = end - time.monotonic()
        last = not any(can_be_tried(other.name) for other in ordered[place + 1 :])
        finding, speed = try_method(each, 3600.0 if full else left if last else _TURN * left)
        config = _configuration(grid, each, threads)
        if speed is not None:
            keep_speed(config, speed)
        yield finding, each.label, speed or kept_speed(config)


@contextlib.contextmanager
def _threads_of_cells(threads: int) -> Iterator[None]:
    """Compute inside with as many threads as a cell has: what a cell would compute, and no faster than it may."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _threads(grid: Grid, device: str) -> int:
    """Return the threads that a cell of the grid has."""
    import os

    from diadbench.benchmark.planning.threads import settled
    from diadbench.benchmark.records.store import RunDirectory

    found = settled(grid, RunDirectory("no such run", must_exist=False))["threads"]
    return int(found or max((os.cpu_count() or 1) // jobs_here(grid.jobs), 1))


def _configuration(grid: Grid, wanted: Wanted, threads: int) -> dict[str, Any]:
    """Return of a cell's configuration what its speed depends on."""
    return {
        "method": grid.methods[wanted.label].method,
        "method_options": dict(wanted.options),
        "image_size": list(wanted.image_size),
        "device": grid.device,
        "devices": grid.devices,
        "threads": threads if wanted.device == "cpu" else None,
    }


def _share(grid: Grid, label: str, method: ResolvedMethod, speed: Speed | None, images: Images) -> Share:
    from diadbench.benchmark.records.cell_labels import cell_settings

    only = grid.methods[label].datasets
    chosen = {name: count for name, count in images.items() if only is None or name in only}
    repeats = len(grid.seeds) * len(cell_settings(grid.settings, grid.shots))
    differs = ", ".join(grid.methods[label].by_dataset)
    remark = f"with other options on {differs}, which aren't counted apart" if differs else ""
    return Share(label, method.identity, speed, chosen, repeats, remark)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: no NaN."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and value != value else value

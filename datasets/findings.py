"""The findings of ``datasets check`` as text, as JSON and as an exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from diadbench.common.wording import counted
from diadbench.datasets.decoding.lookalikes import shown

Severity = Literal["error", "warning", "note"]
_SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """One finding about a dataset on disk.

    Attributes:
        severity: ``error``: results would be wrong or not comparable. ``warning``: should be looked at. ``note``:
            correct, but good to know.
        kind: Short name: ``empty-mask``, ``counts``, ``duplicate`` ...
        what: What was found and what was expected, in one line.
        path: File or folder of the finding.
        advice: What to do.
        note: Text for tables with results on these data, as ``singular|plural`` with ``{n}`` for the number of findings
            with the same note (``{n} mask is empty|{n} masks are empty``); ``""`` if no result is affected.
    """

    severity: Severity
    kind: str
    what: str
    path: str = ""
    advice: str = ""
    note: str = ""

    def line(self) -> str:
        """Return the finding as one line."""
        place = f"{self.path}: " if self.path and self.path not in self.what else ""
        return f"{self.severity}: {place}{self.what}" + (f"; {self.advice}" if self.advice else "")


@dataclass
class CheckReport:
    """The result of a check.

    Attributes:
        name: Dataset.
        title: Dataset, as printed.
        root: Directory that was checked.
        layout: Which layout was found; ``""`` when none was.
        source: What the samples were read from: the list, or folders.
        counts: ``{class: {train, test_good, test_bad}}`` as found.
        vanished: ``{rule: number}`` of anomalous masks that become empty at the evaluation size, by mask rule.
        files: Number of files opened.
        findings: The findings.
    """

    name: str
    title: str
    root: str
    layout: str = ""
    source: str = ""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    vanished: dict[str, int] = field(default_factory=dict)
    files: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, severity: Severity, kind: str, what: str, path: object = "", advice: str = "", *, note: str) -> None:
        """Add a finding. Its :attr:`Finding.note` is what tables say about it."""
        self.findings.append(Finding(severity, kind, shown(what), shown(str(path)), advice, note))

    def notes(self) -> tuple[str, ...]:
        """Return the text for tables with results on these data: one short note for each kind of fault."""
        counts = Counter(finding.note for finding in self.findings if finding.note)
        return tuple(_counted(note, n) for note, n in counts.items())

    def of(self, severity: Severity) -> list[Finding]:
        """Return the findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    def worst_first(self) -> list[Finding]:
        """Return the findings: errors, then warnings, then notes."""
        return [*self.of("error"), *self.of("warning"), *self.of("note")]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.of("error")

    def exit_code(self, *, strict: bool = False) -> int:
        """Return 0 if there are no errors, else 1; with ``strict``, warnings count as errors."""
        return int(not self.ok or (strict and bool(self.of("warning"))))

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values, with every finding."""
        return {"ok": self.ok, **asdict(self), "findings": [asdict(finding) for finding in self.worst_first()]}

    def text(self, *, everything: bool = False) -> str:
        """Return the report for people, with the first twenty findings of each kind unless ``everything``."""
        lines = [f"{self.title}: {self.root}" + (f" (layout {self.layout})" if self.layout else "")]
        lines += [f"read from: {self.source}"] if self.source else []
        if self.counts:
            lines += ["", *_count_lines(self.counts)]
        shown: dict[tuple[str, str], int] = {}
        told = []
        for finding in self.worst_first():
            key = (finding.severity, finding.kind)
            shown[key] = shown.get(key, 0) + 1
            if everything or shown[key] <= _SHOWN:
                told.append(finding.line())
        hidden = sum(max(0, number - _SHOWN) for number in shown.values()) if not everything else 0
        lines += ["", *told] if told else []
        lines += [f"... and {hidden:,} more; --json has all"] if hidden else []
        return "\n".join([*lines, "", self.verdict()])

    def verdict(self) -> str:
        """Return the last line: whether the dataset passes, with the numbers of findings."""
        errors, warnings = len(self.of("error")), len(self.of("warning"))
        opened = f"{counted(self.files, 'file')} opened"
        return f"{'ok' if self.ok else 'NOT ok'}: {counted(errors, 'error')}, {counted(warnings, 'warning')}, {opened}"


def _counted(note: str, n: int) -> str:
    one, _, many = note.partition("|")
    return (many if many and n != 1 else one).replace("{n}", f"{n:,}")


def _count_lines(counts: dict[str, dict[str, int]]) -> Iterable[str]:
    width = max(len(name) for name in [*counts, "class"]) + 2
    yield f"{'class':<{width}}{'train':>8}{'normal':>8}{'anomalous':>11}"
    for name, row in counts.items():
        yield f"{name:<{width}}{row['train']:>8,}{row['test_good']:>8,}{row['test_bad']:>11,}"
    total = {key: sum(row[key] for row in counts.values()) for key in ("train", "test_good", "test_bad")}
    yield f"{'all':<{width}}{total['train']:>8,}{total['test_good']:>8,}{total['test_bad']:>11,}"

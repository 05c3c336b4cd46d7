"""Where a figure comes from, and how to run it again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import yaml

from diadbench.benchmark.records.store import CellRecord
from diadbench.reports.tables.costs import evaluation
from diadbench.reports.tables.escape import clean

#: Keys that a grid takes over from a cell as they are.
_KEPT = ("image_size", "evaluation_size", "resize", "protocol", "batch_size", "device", "devices", "tf32", "threads")
_FEW = "few-shot"


def facts_of(cells: Sequence[CellRecord], source: str) -> list[tuple[str, str]]:
    """Return what a figure's cells say of themselves: runs, seeds, data, code, hardware."""
    first = cells[0]
    status, environments = first.status, [cell.status.get("environment") or {} for cell in cells]
    packages = environments[0].get("packages") or {}
    found = {
        "run": source,
        "seeds": ", ".join(str(cell.seed) for cell in cells),
        "setting": first.setting,
        "protocol": evaluation(first),
        "configuration": first.configuration,
        "identities": ", ".join(f"seed {cell.seed}: {cell.identity}" for cell in cells),
        "data fingerprint": str(status.get("fingerprint") or ""),
        "images": f"{status.get('n_train')} for training, {status.get('n_test')} for testing",
        "commit": _each([_commit(each) for each in environments]),
        "versions": ", ".join(f"{key} {packages[key]}" for key in ("torch", "anomalib", "timm") if packages.get(key)),
        "diadbench": _each([str(each.get("diadbench", "")) for each in environments]),
        "hardware": _each([_hardware(each) for each in environments]),
        "finished": _each([_day(cell.status.get("finished")) for cell in cells]),
        "notes": "; ".join(dict.fromkeys(note for cell in cells for note in cell.status.get("notes") or [])),
    }
    return [(key, clean(text)) for key, text in found.items() if text]


def _each(texts: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(filter(None, texts)))


def _commit(environment: dict[str, Any]) -> str:
    commit = str(environment.get("commit") or "")
    return f"{commit}{' with changes that were not committed' if environment.get('dirty') else ''}" if commit else ""


def _hardware(environment: dict[str, Any]) -> str:
    parts = [environment.get("gpu"), environment.get("processor"), environment.get("platform")]
    if environment.get("threads"):
        parts.append(f"{environment['threads']} thread{'s' if environment['threads'] != 1 else ''}")
    return ", ".join(str(part) for part in parts if part)


def _day(seconds: object) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds)) if isinstance(seconds, (int, float)) else ""


def repeat_grid(cells: Sequence[CellRecord]) -> str:
    """Return a grid that asks for these cells, as YAML: the same options, seeds, sizes and protocol.

    Paths are those of the machine that ran them, and so are left out but for their names.
    """
    config = cells[0].config
    setting = str(config["setting"])
    few = setting.startswith(f"{_FEW}-")
    options = {key: value for key, value in config["dataset_options"].items() if key != "limit"}
    subset = config.get("train_subset") or {}
    dataset = {"dataset": _local(config["dataset"]), "options": _local(options)}
    dataset |= {key: subset[key] for key in ("train_fraction", "contamination") if subset.get(key) is not None}
    limit = config["dataset_options"].get("limit")
    grid = {
        "methods": {
            config["method_label"]: {"method": _local(config["method"]), "options": _local(config["method_options"])}
        },
        "datasets": {config["dataset_label"]: dataset},
        "settings": [_FEW if few else setting],
        **({"shots": [int(setting.removeprefix(f"{_FEW}-"))]} if few else {}),
        "seeds": sorted(cell.seed for cell in cells),
        **{key: config[key] for key in _KEPT if config.get(key) is not None},
        **({"limit": limit} if limit is not None else {}),
    }
    text = yaml.safe_dump(grid, sort_keys=False, allow_unicode=True)
    root = f"datasets.{config['dataset_label']}.root=/path/of/the/data"
    return f"# diadbench run repeat.yaml {root}\n{text}"


def _local(value: Any) -> Any:
    """Return a value whose absolute paths are cut to what is below the run, or to the name of the file."""
    if isinstance(value, dict):
        return {key: _local(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_local(inner) for inner in value]
    if not isinstance(value, str) or not PurePath(value).is_absolute() or len(PurePath(value).parts) < 2:
        return value
    parts = PurePath(value).parts
    return "/".join(("RUN", *parts[parts.index("code") :])) if "code" in parts else PurePath(value).name

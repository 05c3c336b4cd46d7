"""``diadbench show``."""

from __future__ import annotations


def command(grid: str, overrides: list[str], *, cells: bool = False) -> int:
    """Print a grid with all its defaults, and with --cells every cell with all options of its method.

    Args:
        grid: A packaged name, a YAML file, or a run directory.
        overrides: Keys of the grid, as key=value with dots.
        cells: Print each method's and dataset's complete options too.

    Example::

        diadbench show demo 'seeds=[0,1]'
    """
    import yaml

    from diadbench.benchmark.planning.grid import load_grid, parse_overrides

    checked = load_grid(grid, parse_overrides(overrides))
    print(checked.to_yaml(), end="")
    if cells:
        from diadbench.benchmark.planning.resolving.resolve import resolve_method

        for label, spec in checked.methods.items():
            for dataset in ("", *spec.by_dataset):
                resolved = resolve_method(spec.method, spec.for_dataset(dataset).options, f"methods.{label}")
                title = f"# options of {label}" + (f" on {dataset}" if dataset else "")
                print(yaml.safe_dump({title: resolved.options}, sort_keys=False), end="")
    return 0

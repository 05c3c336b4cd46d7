"""``diadbench methods list`` and ``info``: the verbs that show."""

from __future__ import annotations

from typing import Any


def list_methods(*, anomalib: bool = False) -> int:
    """List the methods: the project's, their presets, plug-ins and, with --anomalib, all models of anomalib.

    Args:
        anomalib: List the names anomalib:MODEL too.

    Example::

        diadbench methods list
        diadbench methods list --anomalib
    """
    from diadbench.benchmark.planning.grid import method_presets
    from diadbench.common.wording import counted
    from diadbench.methods.anomalib_models.names import model_names
    from diadbench.methods.catalog import CATALOG
    from diadbench.methods.registry import names

    print(f"{'name':<14}{'title':<12}{'venue':<12}needs")
    for name in names():
        known = CATALOG[name].info if name in CATALOG else None
        facts = (known.title, known.venue, ", ".join(known.needs) or "-") if known else ("(plug-in)", "", "")
        print(f"{name:<14}{facts[0]:<12}{facts[1]:<12}{facts[2]}")
    print("\npresets, which go by their name in a grid and on the command line:")
    for name, values in method_presets().items():
        print(f"{name:<20}{values['method']} with {counted(len(values.get('options') or {}), 'option')} of its own")
    models = model_names()
    short = f"anomalib:MODEL for {len(models)} models of anomalib (--anomalib lists them); FILE.py:CLASS for yours"
    print()
    print("\n".join(f"anomalib:{model}" for model in models) if anomalib else short)
    return 0


def info(name: str) -> int:
    """Say what a method or preset is: paper, needs, and its options with their defaults.

    Args:
        name: A registered name, a preset, anomalib:MODEL, or FILE.py:CLASS.

    Example::

        diadbench methods info patchcore
        diadbench methods info patchcore-lite
        diadbench methods info anomalib:Padim
    """
    import inspect

    from diadbench.benchmark.planning.grid import method_presets
    from diadbench.methods.registry import get_class

    preset: dict[str, Any] = method_presets(with_own=True).get(name, {})
    own: dict[str, Any] = preset.get("options") or {}
    cls = get_class(preset.get("method", name))
    facts = cls.info
    print(f"{facts.title} ({facts.name})\n{facts.summary}")
    if facts.paper:
        print(f"paper: {facts.paper}, {facts.venue}, cite {facts.cite}")
    print(f"needs: {', '.join(facts.needs) or 'nothing'}\n\n{inspect.getdoc(cls) or ''}\n")
    print(f"options, and what the preset {name} makes of them in a grid:" if preset else "options:")
    for option in inspect.signature(cls).parameters.values():
        kind = option.annotation if isinstance(option.annotation, str) else inspect.formatannotation(option.annotation)
        told = f"   in a grid: {own[option.name]!r}" if option.name in own else ""
        print(f"  {option.name}: {kind} = {option.default!r}{told}")
    for key in ("image_size", "time_limit"):
        if key in preset:
            print(f"the preset also sets {key}: {preset[key]}")
    return 0

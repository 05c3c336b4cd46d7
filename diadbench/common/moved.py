"""Old names of modules that have moved: importing an old name gives the module of the new name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Old name -> new name, below ``diadbench``. An entry is kept as long as there are files that use the old name.
MOVED: dict[str, str] = {
    "benchmark.bibliography": "common.bibtex",
    "benchmark.cell": "benchmark.cells.cell",
    "benchmark.contents": "benchmark.planning.contents",
    "benchmark.evaluation_size": "benchmark.cells.scoring.evaluation_size",
    "benchmark.experiment": "benchmark.records.experiment",
    "benchmark.export": "benchmark.reuse.export",
    "benchmark.forecast": "benchmark.planning.forecast",
    "benchmark.grid": "benchmark.planning.grid",
    "benchmark.identity": "benchmark.records.identity",
    "benchmark.keep": "benchmark.cells.keep",
    "benchmark.loggers": "benchmark.cells.loggers",
    "benchmark.meter": "benchmark.cells.meter",
    "benchmark.metrics.bag": "benchmark.metrics.exact.bag",
    "benchmark.metrics.counting": "benchmark.metrics.exact.counting",
    "benchmark.metrics.inputs": "benchmark.metrics.exact.inputs",
    "benchmark.metrics.kernels": "benchmark.metrics.exact.kernels",
    "benchmark.metrics.pixels": "benchmark.metrics.exact.pixels",
    "benchmark.metrics.pooling": "benchmark.metrics.exact.pooling",
    "benchmark.metrics.precision": "benchmark.metrics.exact.precision",
    "benchmark.metrics.ranges": "benchmark.metrics.exact.ranges",
    "benchmark.metrics.ranking": "benchmark.metrics.exact.ranking",
    "benchmark.metrics.regions": "benchmark.metrics.exact.regions",
    "benchmark.metrics.scores": "benchmark.metrics.exact.scores",
    "benchmark.metrics.spill": "benchmark.metrics.exact.spill",
    "benchmark.metrics.store": "benchmark.metrics.exact.spill",
    "benchmark.metrics.thresholds": "benchmark.metrics.exact.thresholds",
    "benchmark.paths": "benchmark.planning.paths",
    "benchmark.phases": "benchmark.cells.phases",
    "benchmark.plan": "benchmark.planning.plan",
    "benchmark.predict": "benchmark.reuse.predict",
    "benchmark.provenance": "benchmark.cells.provenance",
    "benchmark.records.labels": "benchmark.records.cell_labels",
    "benchmark.reevaluate": "benchmark.reuse.reevaluate",
    "benchmark.resolve": "benchmark.planning.resolve",
    "benchmark.reuse.pack": "benchmark.sharing.pack",
    "benchmark.runner": "benchmark.runs.runner",
    "benchmark.scratch": "benchmark.cells.scratch",
    "benchmark.status": "benchmark.runs.status",
    "benchmark.store": "benchmark.records.store",
    "benchmark.takeover": "benchmark.planning.takeover",
    "benchmark.threads": "benchmark.planning.threads",
    "benchmark.watch": "benchmark.runs.watch",
    "benchmark.worker": "benchmark.cells.worker",
    "cli.compare": "cli.commands.cmd_compare",
    "cli.datasets": "cli.commands.cmd_datasets",
    "cli.diad": "cli.commands.cmd_diad",
    "cli.diad_compare": "benchmark.steps.diad_compare",
    "cli.diad_steps": "benchmark.steps.diad_steps",
    "cli.display": "cli.show_options",
    "cli.evaluate": "cli.commands.cmd_evaluate",
    "cli.grids": "cli.commands.cmd_grids",
    "cli.methods": "cli.commands.cmd_methods",
    "cli.options": "cli.dataset_words",
    "cli.predict": "cli.commands.cmd_predict",
    "cli.published": "cli.commands.cmd_published",
    "cli.report": "cli.commands.cmd_report",
    "cli.run": "cli.commands.cmd_run",
    "cli.show": "cli.commands.cmd_show",
    "cli.status": "cli.commands.cmd_status",
    "cli.table": "cli.commands.cmd_table",
    "common.arguments": "common.values.arguments",
    "common.held": "common.processes.held",
    "common.interrupt": "common.processes.interrupt",
    "common.systems": "common.processes.systems",
    "common.typed": "common.values.typed",
    "common.yaml_values": "common.values.yaml_values",
    "datasets.btad": "datasets.sets.btad",
    "datasets.catalog": "datasets.facts.known_sets",
    "datasets.check": "datasets.checking.check",
    "datasets.check_extras": "datasets.checking.check_extras",
    "datasets.check_files": "datasets.checking.check_files",
    "datasets.coco_ad": "datasets.sets.coco_ad",
    "datasets.coco_masks": "datasets.sets.coco_masks",
    "datasets.data": "datasets.decoding.data",
    "datasets.data_module": "datasets.decoding.data_module",
    "datasets.decoding.leaks": "datasets.checking.leaks",
    "datasets.describe": "datasets.checking.describe",
    "datasets.detect": "datasets.layouts.detect",
    "datasets.elpv": "datasets.sets.elpv",
    "datasets.fingerprint": "datasets.decoding.fingerprint",
    "datasets.folder": "datasets.sets.folder",
    "datasets.images": "datasets.decoding.images",
    "datasets.indices": "datasets.layouts.indices",
    "datasets.info": "datasets.dataset_info",
    "datasets.layouts.whole_masks": "datasets.layouts.list_places",
    "datasets.masks": "datasets.decoding.masks",
    "datasets.mpdd": "datasets.sets.mpdd",
    "datasets.mvtec": "datasets.sets.mvtec",
    "datasets.mvtec3d": "datasets.sets.mvtec3d",
    "datasets.mvtec_loco": "datasets.sets.mvtec_loco",
    "datasets.prepare": "datasets.checking.prepare",
    "datasets.published": "datasets.facts.counts",
    "datasets.realiad": "datasets.sets.realiad",
    "datasets.registry": "datasets.lookup",
    "datasets.roots": "datasets.layouts.roots",
    "datasets.samples.coco": "datasets.samples.coco_sample",
    "datasets.samples.draw": "datasets.samples.paint",
    "datasets.samples.folders": "datasets.samples.folder_samples",
    "datasets.samples.lists": "datasets.samples.list_samples",
    "datasets.samples.realiad": "datasets.samples.realiad_sample",
    "datasets.samples.visa": "datasets.samples.visa_sample",
    "datasets.store": "datasets.decoding.rows",
    "datasets.toy_defects": "datasets.toy.defects",
    "datasets.toy_draw": "datasets.toy.render",
    "datasets.toy_scenes": "datasets.toy.scenes",
    "datasets.unimedical": "datasets.sets.unimedical",
    "datasets.visa": "datasets.sets.visa",
    "datasets.workers": "datasets.decoding.workers",
    "methods.anomalib_bridge": "methods.anomalib_models.bridge",
    "methods.anomalib_input": "methods.anomalib_models.input_size",
    "methods.anomalib_names": "methods.anomalib_models.names",
    "methods.anomalib_options": "methods.anomalib_models.options",
    "methods.anomalib_place": "methods.anomalib_models.place",
    "methods.anomalib_training": "methods.anomalib_models.training_run",
    "methods.anomalib_weights": "methods.anomalib_models.authors_weights",
    "methods.backbone_tags": "methods.features.backbone_tags",
    "methods.backbones": "methods.features.backbones",
    "methods.conformance": "methods.authoring.conformance",
    "methods.coreset": "methods.patchcore.coreset",
    "methods.diad.discriminator": "methods.diad.networks.discriminator",
    "methods.diad.figures": "methods.diad.drawing.figures",
    "methods.diad.files": "methods.features.weight_files",
    "methods.diad.memory": "methods.diad.networks.memory",
    "methods.diad.model": "methods.diad.networks.model",
    "methods.diad.networks.half_weights": "methods.diad.reconstruct",
    "methods.diad.networks.random_weights": "methods.diad.networks.initial_weights",
    "methods.diad.noise": "methods.diad.reconstruct",
    "methods.diad.normalise": "methods.diad.reconstruct",
    "methods.diad.pictures": "methods.diad.drawing.pictures",
    "methods.diad.random_weights": "methods.diad.networks.initial_weights",
    "methods.diad.scoring": "methods.diad.score_maps",
    "methods.diad.sff": "methods.diad.networks.sff",
    "methods.diad.text": "methods.diad.prompt",
    "methods.diad.weights": "methods.diad.checkpoints",
    "methods.feature_cache": "methods.features.feature_cache",
    "methods.guarded_data": "methods.authoring.guarded_data",
    "methods.hub": "methods.features.hub",
    "methods.lightning": "methods.training.lightning",
    "methods.neighbours": "methods.features.neighbours",
    "methods.origin": "methods.features.origin",
    "methods.padim": "methods.simple.padim",
    "methods.patchcore_features": "methods.patchcore.patch_features",
    "methods.patchcore_store": "methods.patchcore.patches",
    "methods.quiet": "methods.training.quiet",
    "methods.small_data": "methods.authoring.small_data",
    "methods.template": "methods.authoring.template",
    "methods.trivial": "methods.simple.trivial",
    "methods.weights": "methods.features.weights",
    "reports.bibliography": "reports.paper.references",
    "reports.document": "reports.paper.document",
    "reports.escape": "reports.tables.escape",
    "reports.excel": "reports.workbook.excel",
    "reports.experiments": "reports.tables.experiments",
    "reports.figures.curves": "reports.figures.curve_plots",
    "reports.frame": "reports.tables.frame",
    "reports.gallery": "reports.figures.gallery",
    "reports.labels": "reports.tables.labels",
    "reports.latex": "reports.paper.latex",
    "reports.macros": "reports.paper.macros",
    "reports.own": "reports.terminal",
    "reports.palette": "reports.figures.palette",
    "reports.provenance": "reports.tables.costs",
    "reports.published.rows": "reports.published.entries",
    "reports.report": "reports.make_report",
    "reports.sheet": "reports.workbook.sheet",
    "reports.source": "reports.tables.source",
    "reports.stats": "reports.tables.stats",
    "reports.table": "reports.tables.cut",
    "reports.text": "reports.tables.plain_text",
}


class _MovedModules(MetaPathFinder, Loader):
    """Find a module by its old name. The module is imported once, so both names are the same object."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for an old name, ``None`` for any other."""
        return ModuleSpec(fullname, self) if _new_name(fullname) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Use Python's default: the module made here is replaced when it is executed."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Replace the old module by that of the new name."""
        sys.modules[module.__name__] = importlib.import_module(str(_new_name(module.__name__)))


def _new_name(name: str) -> str | None:
    package, _, below = name.partition(".")
    return f"diadbench.{MOVED[below]}" if package == "diadbench" and below in MOVED else None


def install() -> None:
    """Register the finder of old names. Called once, by ``diadbench/__init__.py``."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())

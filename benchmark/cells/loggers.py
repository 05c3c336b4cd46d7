"""Create the training loggers of a configuration. Methods pass them to Lightning's Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diadbench.common.errors import UserError, unknown_name

LOGGERS = ("csv", "tensorboard", "mlflow", "wandb")


def make_loggers(cell: dict[str, Any], part: str, directory: Path) -> list[Any]:
    """Return the Lightning loggers that the grid asks for.

    ``csv`` needs none: methods write ``history.csv`` themselves. MLflow uses ``$MLFLOW_TRACKING_URI``, else an SQLite
    file beside the run. Raises UserError for an unknown logger or a missing package.
    """
    wanted = [name for name in cell["logger"] if name != "csv"]
    if not wanted:
        return []
    from lightning.pytorch import loggers

    name = "/".join([cell["dataset_label"], cell["method_label"], cell["setting"], f"seed{cell['seed']}", part])
    made: list[Any] = []
    for kind in wanted:
        try:
            if kind == "tensorboard":
                made.append(loggers.TensorBoardLogger(cell["run_directory"], name="tensorboard", version=name))
            elif kind == "mlflow":
                made.append(_mlflow(loggers, cell, name))
            elif kind == "wandb":
                made.append(loggers.WandbLogger(project="diadbench", name=name, save_dir=cell["run_directory"]))
            else:
                raise unknown_name("logger", kind, LOGGERS)
        except ModuleNotFoundError as error:
            raise UserError(
                f"logger {kind!r} needs a package: {error}; try pip install 'diadbench[loggers]'"
            ) from error
    return made


def _mlflow(loggers: Any, cell: dict[str, Any], name: str) -> Any:
    import os

    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(cell['run_directory']).resolve()}/mlflow.db"
    return loggers.MLFlowLogger(experiment_name="diadbench", run_name=name, tracking_uri=uri)

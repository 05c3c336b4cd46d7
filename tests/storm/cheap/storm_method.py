"""The options of the cheap cells; what they do is in ``sitecustomize``."""

from diadbench.methods.info import MethodInfo


class StormMethod:
    info = MethodInfo("storm", "Storm", "Sums the shared cache.")

    def __init__(self, seconds: float = 0.5, scale: float = 1.0, lingers: float = 0.0) -> None:
        self.seconds, self.scale, self.lingers = seconds, scale, lingers

    def fit(self, train: object, run: object) -> None:
        raise AssertionError("the cheap cell doesn't call it")

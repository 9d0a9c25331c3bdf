"""The baselines of a study: where each lives, and how it is fitted."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary
from engine.terminology.interactions import group_pairs


@dataclass(frozen=True)
class Baseline:
    """Where a baseline lives; it is fitted on training and settles its choices on validation."""

    title: str
    module: str
    name: str
    seeded: bool = False
    claims: bool = True  # whether its scores claim to be probabilities


BASELINES = {
    "most_frequent": Baseline(
        "Most frequent k", "engine.evaluation.baselines", "MostFrequent", claims=False
    ),
    "copy_previous": Baseline(
        "Copy previous visit", "engine.evaluation.baselines", "CopyPrevious", claims=False
    ),
    "nearest_neighbour": Baseline(
        "Nearest neighbour", "engine.evaluation.neighbour", "NearestNeighbour", claims=False
    ),
    "logistic_regression": Baseline(
        "Logistic regression", "engine.evaluation.baselines", "LogisticRegressionBaseline"
    ),
    "retain": Baseline("RETAIN", "engine.evaluation.neural.retain", "Retain", seeded=True),
    "gamenet": Baseline("GAMENet", "engine.evaluation.neural.gamenet", "GameNet", seeded=True),
    "transformer": Baseline(
        "Plain transformer", "engine.evaluation.neural.transformer", "PlainTransformer", seeded=True
    ),
}


def baseline_class(baseline: Baseline) -> type | None:
    """Return a baseline's class; None where this version does not have it."""
    try:
        module = importlib.import_module(baseline.module)
    except ModuleNotFoundError:
        return None
    return getattr(module, baseline.name, None)


def fit_baseline(
    cls: type,
    training: list[Visit],
    validation: list[Visit],
    vocabulary: Vocabulary,
    seed: int,
):
    """Fit a baseline, with the seed, and with the pairs that interact, where it takes them."""
    options = {"seed": seed} if _takes(cls.fit, "seed") else {}
    model = cls(interactions=group_pairs()) if _takes(cls, "interactions") else cls()
    return model.fit(training, validation, vocabulary, **options)


def _takes(called: Callable, name: str) -> bool:
    return name in inspect.signature(called).parameters

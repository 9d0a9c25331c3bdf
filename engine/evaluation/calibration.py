"""From a model's logits to probabilities that mean what they say, and to a yes or a no.

Both numbers of a `Calibration` are chosen on validation visits and stored with the model.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from engine.evaluation.metrics import f1, jaccard

TEMPERATURES = (0.05, 20.0)  # searched range; a model outside it has not been trained
THRESHOLDS = np.arange(1, 100) / 100


@dataclass(frozen=True)
class Calibration:
    """A model's temperature and the probability from which a group is recommended."""

    temperature: float = 1.0
    threshold: float = 0.5

    def __post_init__(self):
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be from 0 to 1, got {self.threshold}")

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Return sigmoid(logits / temperature), the shape of `logits`."""
        return expit(np.asarray(logits, dtype=float) / self.temperature)

    def select(self, probability: np.ndarray) -> np.ndarray:
        """Return which probabilities reach the threshold, bool, the same shape."""
        return np.asarray(probability) >= self.threshold


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature with the lowest binary cross-entropy; both arrays are (N, L).

    One number for all groups (temperature scaling; Guo et al., On Calibration of Modern Neural
    Networks, 2017, section 4.2), so the ranking of the groups stays as it was.

    Raises ValueError when there are no visits or a logit is not finite.
    """
    logits, truth = np.asarray(logits, dtype=float), np.asarray(truth, dtype=bool)
    _require_visits(truth)
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not finite")

    # Cross-entropy is log(1 + exp(-z)) for a positive of logit z, log(1 + exp(z)) otherwise.
    wrong_way = np.where(truth, -logits, logits)

    def loss(log_temperature: float) -> float:
        return np.logaddexp(0, wrong_way / np.exp(log_temperature)).mean()

    best = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(best.x))


def best_threshold(
    probability: np.ndarray, truth: np.ndarray, missing: np.ndarray | None = None
) -> float:
    """Return the threshold, on a grid of 0.01, with the highest mean Jaccard per visit.

    Arrays are (N, L), `missing` is (N,) as in `metrics.visit_metrics`. Equal thresholds: the
    one with the higher F1, then the one nearest to 0.5. Raises ValueError without visits.
    """
    probability, truth = np.asarray(probability), np.asarray(truth, dtype=bool)
    _require_visits(truth)

    def merit(threshold: float) -> tuple[float, float, float]:
        selected = probability >= threshold
        return (
            jaccard(truth, selected, missing).mean(),
            f1(truth, selected, missing).mean(),
            -abs(threshold - 0.5),
        )

    return float(max(THRESHOLDS, key=merit))


def expected_calibration_error(
    probability: np.ndarray, truth: np.ndarray, bins: int = 15
) -> float | None:
    """Return the mean gap between what a probability says and how often it comes true.

    All N × L pairs of visit and group fall into bins of equal width; each bin counts by the
    pairs in it (Guo et al., 2017, equation 3). None without visits.
    """
    said = np.asarray(probability, dtype=float).ravel()
    came_true = np.asarray(truth, dtype=float).ravel()
    if not said.size:
        return None
    edge = np.minimum((said * bins).astype(int), bins - 1)
    gaps = np.bincount(edge, weights=said - came_true, minlength=bins)
    return float(np.abs(gaps).sum() / said.size)


def _require_visits(truth: np.ndarray) -> None:
    if not len(truth):
        raise ValueError("no visits to calibrate on: the validation part of the cohort is empty")

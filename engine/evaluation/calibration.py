"""From a model's logits to probabilities that mean what they say, and to a yes or a no.

Everything in a `Calibration` is chosen on validation visits and stored with the model, as plain
numbers. Calibration never decides which group comes first: rankings (PRAUC) and prediction sets go
by the logits, so that groups to which it gives one probability do not become ties.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from engine.evaluation.conformal import SetRule, fit_sets
from engine.evaluation.metrics import f1, jaccard

Method = Literal["temperature", "isotonic"]

TEMPERATURES = (0.05, 20.0)  # searched range; a model outside it has not been trained
THRESHOLDS = np.arange(1, 100) / 100


@dataclass(frozen=True)
class Calibration:
    """A model's way from logits to probabilities, to recommendations, and to prediction sets."""

    temperature: float = 1.0
    threshold: float = 0.5  # the probability from which a group is recommended
    isotonic: tuple[tuple[float, float], ...] | None = None  # (logit, probability) by rising logit
    prediction_set: SetRule | None = None

    def __post_init__(self):
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be from 0 to 1, got {self.threshold}")
        if self.isotonic is not None and not _is_rising(self.isotonic):
            raise ValueError("isotonic must be pairs of a logit and a probability, both rising")

    @classmethod
    def from_json(cls, stored: dict) -> "Calibration":
        """Read what `to_json` wrote; parts an older file lacks are as they were then.

        Raises TypeError or ValueError on anything else.
        """
        stored = dict(stored)
        if stored.get("isotonic") is not None:
            stored["isotonic"] = tuple((float(x), float(y)) for x, y in stored["isotonic"])
        if stored.get("prediction_set") is not None:
            stored["prediction_set"] = SetRule(**stored["prediction_set"])
        return cls(**stored)

    def to_json(self) -> dict:
        """Return plain numbers, without the parts that are not used."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, the shape of `logits`.

        With isotonic points, straight lines between them and flat beyond the outermost; without,
        sigmoid(logits / temperature).
        """
        logits = np.asarray(logits, dtype=float)
        if self.isotonic is None:
            return expit(logits / self.temperature)
        points, values = np.array(self.isotonic).T
        return np.interp(logits, points, values)

    def select(self, probability: np.ndarray) -> np.ndarray:
        """Return which probabilities reach the threshold, bool, the same shape."""
        return np.asarray(probability) >= self.threshold


def calibrate(
    logits: np.ndarray,
    truth: np.ndarray,
    patients: np.ndarray,
    missing: np.ndarray | None = None,
    method: Method = "temperature",
    coverage: float = 0.9,
) -> Calibration:
    """Return the calibration of one model from its N validation visits and L groups.

    Args:
        logits: (N, L).
        truth: bool (N, L), what was given.
        patients: (N,), the patient of each visit.
        missing: int (N,), given groups outside the L columns; None: there are none.
        coverage: share of the given groups that the prediction sets hold on average; see
            `engine.evaluation.conformal`, also for when there are none.

    Raises ValueError when there are no visits or a logit is not finite.
    """
    if method == "isotonic":
        fitted = Calibration(isotonic=fit_isotonic(logits, truth))
    else:
        fitted = Calibration(temperature=fit_temperature(logits, truth))
    return Calibration(
        fitted.temperature,
        best_threshold(fitted.probability(logits), truth, missing),
        fitted.isotonic,
        fit_sets(logits, truth, patients, coverage, missing),
    )


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature with the lowest binary cross-entropy; both arrays are (N, L).

    One number for all groups (temperature scaling; Guo et al., On Calibration of Modern Neural
    Networks, 2017, section 4.2), so the ranking of the groups stays as it was.

    Raises ValueError when there are no visits or a logit is not finite.
    """
    logits, truth = _checked(logits, truth)

    # Cross-entropy is log(1 + exp(-z)) for a positive of logit z, log(1 + exp(z)) otherwise.
    wrong_way = np.where(truth, -logits, logits)

    def loss(log_temperature: float) -> float:
        return np.logaddexp(0, wrong_way / np.exp(log_temperature)).mean()

    best = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(best.x))


def fit_isotonic(logits: np.ndarray, truth: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return (logit, probability) points by rising logit and probability; both arrays are (N, L).

    Isotonic regression of what was given on the logit, pooled over all groups (Zadrozny & Elkan,
    Transforming classifier scores into accurate multiclass probability estimates, 2002). Each step
    stands at the mean logit of its pairs, so that the lines between the steps rise and hardly a
    group is tied with another (centred isotonic regression; Oron & Flournoy, 2017). A made-up
    success at the lowest logit and a made-up failure at the highest keep the probability off 0 and
    1, which no finite number of visits can show.

    Raises ValueError when there are no visits or a logit is not finite.
    """
    from sklearn.isotonic import IsotonicRegression  # to fit only; to apply takes numpy

    logits, truth = _checked(logits, truth)
    said = np.concatenate([logits.ravel(), [logits.min(), logits.max()]])
    came_true = np.concatenate([truth.ravel(), [True, False]]).astype(float)
    fitted = IsotonicRegression(y_min=0, y_max=1).fit_transform(said, came_true)
    values, step = np.unique(fitted, return_inverse=True)
    middles = np.bincount(step, weights=said) / np.bincount(step)
    return tuple(zip(middles.tolist(), values.tolist(), strict=True))


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
    said = np.asarray(probability, dtype=float)
    if not said.size:
        return None
    return float(np.abs(calibration_gaps(said, truth, bins).sum(axis=0)).sum() / said.size)


def calibration_gaps(probability: np.ndarray, truth: np.ndarray, bins: int = 15) -> np.ndarray:
    """Return, by bin, how far each visit's probabilities lie above what came true: (N, bins).

    Both arrays are (N, L), or (N,) of one group. Summed over visits these are the gaps of the
    `expected_calibration_error`.
    """
    said = np.asarray(probability, dtype=float)
    visits = len(said)
    cell = np.minimum((said * bins).astype(int), bins - 1).reshape(visits, -1)
    cell = cell + np.arange(visits)[:, None] * bins
    gap = (said - np.asarray(truth, dtype=float)).reshape(visits, -1)
    sums = np.bincount(cell.ravel(), weights=gap.ravel(), minlength=visits * bins)
    return sums.reshape(visits, bins)


def _checked(logits: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits, truth = np.asarray(logits, dtype=float), np.asarray(truth, dtype=bool)
    _require_visits(truth)
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not finite")
    return logits, truth


def _is_rising(points: tuple[tuple[float, float], ...]) -> bool:
    """Whether logits rise and probabilities do not fall; a NaN fails every comparison."""
    return (
        len(points) > 0
        and all(np.isfinite(logit) and 0 <= value <= 1 for logit, value in points)
        and all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(points))
    )


def _require_visits(truth: np.ndarray) -> None:
    if not len(truth):
        raise ValueError("no visits to calibrate on: the validation part of the cohort is empty")

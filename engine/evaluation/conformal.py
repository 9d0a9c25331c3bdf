"""Prediction sets: the groups that hold, on average, at least a chosen share of what was given.

A model's set for a visit is every medication group whose logit reaches a threshold. Lower the
threshold and the set misses less; conformal risk control (Angelopoulos, Bates, Fisch, Lei &
Schuster, Conformal Risk Control, 2022, theorem 1) says how low it has to be. With the patients
i = 1 … n it is set on and Lᵢ(t) the share of patient i's given groups that the set of threshold t
misses (per visit, then averaged over the patient's visits; so never above 1), it takes the highest

    t  with  n / (n + 1) · mean Lᵢ(t) + 1 / (n + 1)  ≤  α  =  1 − coverage

Then the expected loss of a further patient is at most α: in patients exchangeable with those it
was set on, the set holds on average at least `coverage` of the groups given.

What is guaranteed, and what is not:

- It is an average over patients, each counted once by the mean over their visits; it is neither a
  promise for this visit or patient, nor for a kind of patient (first visits, an age, a rare
  disease).
- It holds for patients like those it was set on. Another hospital or another time may differ.
- It presumes a model fixed beforehand. The same validation patients also chose the checkpoint, so
  the realised share on test patients, which the report gives, is the figure to trust.
- Groups outside the vocabulary are in no set and count as missed. Nothing is said of how many
  groups of a set are right.
"""

from dataclasses import dataclass

import numpy as np

ROUNDING = 1e-12  # sums of shares that ought to be equal differ by less


@dataclass(frozen=True)
class SetRule:
    """From which logit a group lies in a model's prediction set, and what that was set on."""

    coverage: float  # share of the given groups held on average, above 0 and below 1
    logit: float  # a group at or above it lies in the set
    patients: int  # how many it was set on

    def __post_init__(self):
        if not 0 < self.coverage < 1:
            raise ValueError(f"coverage must be above 0 and below 1, got {self.coverage}")
        if not np.isfinite(self.logit):
            raise ValueError(f"logit must be a finite number, got {self.logit}")
        if self.patients < 1:
            raise ValueError(f"patients must be 1 or more, got {self.patients}")

    def sets(self, logits: np.ndarray) -> np.ndarray:
        """Return which groups lie in the set, bool, the shape of `logits`."""
        return np.asarray(logits) >= self.logit


def fit_sets(
    logits: np.ndarray,
    truth: np.ndarray,
    patients: np.ndarray,
    coverage: float,
    missing: np.ndarray | None = None,
) -> SetRule | None:
    """Return the smallest sets that keep the promise in this module's head.

    Args:
        logits: (N, L), of N visits and L groups.
        truth: bool (N, L), what was given.
        patients: (N,), the patient of each visit.
        missing: int (N,), given groups outside the L columns; None: there are none.

    Returns:
        None where nothing can be promised: fewer than 1 / α − 1 patients (9 for 90 %), more given
        groups outside the vocabulary than may be missed, or no given group at all.

    Raises ValueError when there are no visits, a logit is not finite, or `coverage` is not above
    0 and below 1.
    """
    logits, truth = np.asarray(logits, dtype=float), np.asarray(truth, dtype=bool)
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must be above 0 and below 1, got {coverage}")
    if not len(truth):
        raise ValueError("no visits to set it on: the validation part of the cohort is empty")
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not finite")
    outside = np.zeros(len(truth)) if missing is None else np.asarray(missing, dtype=float)
    _, patient, visits = np.unique(patients, return_inverse=True, return_counts=True)
    n = len(visits)
    allowed = ((1 - coverage) * (n + 1) - 1) / n  # of the mean loss

    # What one given group of a visit adds to the mean loss once it is missed.
    given = truth.sum(axis=1) + outside
    weight = 1 / (n * visits[patient] * np.maximum(given, 1))
    always_missed = (outside * weight).sum()
    if not truth.any() or always_missed > allowed + ROUNDING:
        return None

    visit, _ = np.nonzero(truth)
    candidates, place = np.unique(logits[truth], return_inverse=True)  # ascending
    gained = np.bincount(place, weights=weight[visit], minlength=len(candidates))
    missed_below = always_missed + np.cumsum(gained) - gained  # of the strictly lower ones
    kept = np.flatnonzero(missed_below <= allowed + ROUNDING)
    return SetRule(float(coverage), float(candidates[kept[-1]]), n)


def share_held(
    sets: np.ndarray, truth: np.ndarray, missing: np.ndarray | None = None
) -> np.ndarray:
    """Return the share of each visit's given groups that lies in its set, (N,).

    `sets` and `truth` are bool (N, L), `missing` as in `fit_sets`. A visit without any given
    group misses nothing: 1.
    """
    given = truth.sum(axis=1) + (0 if missing is None else missing)
    held = (np.asarray(sets, dtype=bool) & truth).sum(axis=1)
    return np.where(given == 0, 1.0, held / np.maximum(given, 1))


def per_patient(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Return the mean of each patient's visits, in the order of the sorted patient ids."""
    _, patient, visits = np.unique(patients, return_inverse=True, return_counts=True)
    return np.bincount(patient, weights=values, minlength=len(visits)) / visits

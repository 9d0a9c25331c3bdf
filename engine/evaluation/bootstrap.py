"""How sure a mean over visits is: intervals that resample patients, not visits.

The visits of one patient resemble each other, so patients are drawn with replacement and bring
all their visits along (the cluster bootstrap; Davison & Hinkley, Bootstrap Methods and their
Application, 1997, section 3.8). A resample's estimate is the sum of its visits' values over the
number of its visits.
"""

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 0.95


class PatientBootstrap:
    """A fixed set of patient resamples: every quantity measured on it is paired with the others.

    `patients`, (N,), names the patient of each visit. Memory: 8 bytes × resamples × patients.
    """

    def __init__(self, patients: np.ndarray, resamples: int = RESAMPLES, seed: int = 0):
        names, self._patient = np.unique(np.asarray(patients), return_inverse=True)
        self.patients = len(names)
        self.visits = len(self._patient)
        self._draws = _draws(self.patients, resamples, seed)

    def interval(self, values: np.ndarray) -> dict[str, float | None]:
        """Return the mean of `values` (N,) with its 95 % percentile interval: mean, low, high.

        No visits: all three are None. A single patient: low and high are None, because one
        patient says nothing about how patients differ. Raises ValueError on a wrong length.
        """
        sums, visits = self._by_patient(values)
        return self._interval(sums, visits)

    def interval_of_patients(self, values: np.ndarray) -> dict[str, float | None]:
        """As `interval`, of the mean over patients: each counts once, by their visits' mean."""
        sums, visits = self._by_patient(values)
        return self._interval(sums / visits, np.ones_like(visits))

    def paired_difference(self, a: np.ndarray, b: np.ndarray) -> dict[str, float | None]:
        """Return mean(a) − mean(b) on the same visits, both (N,): difference, low, high."""
        found = self.interval(np.asarray(a, dtype=float) - np.asarray(b, dtype=float))
        return {"difference": found["mean"], "low": found["low"], "high": found["high"]}

    def resampled_means(self, values: np.ndarray) -> np.ndarray:
        """Return each resample's mean of `values` (N, K), K quantities a visit: (resamples, K).

        For what is no mean over visits itself, but made of some. Raises ValueError on a wrong
        length, or without visits.
        """
        if not self.patients:
            raise ValueError("no visits to resample")
        columns = [self._by_patient(column) for column in np.asarray(values).T]
        sums = np.stack([sums for sums, _ in columns], axis=1)
        return (self._draws @ sums) / (self._draws @ columns[0][1])[:, None]

    def _by_patient(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each patient's sum of values and number of visits."""
        values = np.asarray(values, dtype=float)
        if values.shape != (self.visits,):
            raise ValueError(f"expected {self.visits} values, one a visit, got {values.shape}")
        sums = np.bincount(self._patient, weights=values, minlength=self.patients)
        return sums, np.bincount(self._patient, minlength=self.patients).astype(float)

    def _interval(self, sums: np.ndarray, weights: np.ndarray) -> dict[str, float | None]:
        if not self.patients:
            return {"mean": None, "low": None, "high": None}
        mean = float(sums.sum() / weights.sum())
        if self.patients < 2:
            return {"mean": mean, "low": None, "high": None}
        low, high = percentiles((self._draws @ sums) / (self._draws @ weights))
        return {"mean": mean, "low": low, "high": high}


def percentiles(resampled: np.ndarray) -> tuple[float, float]:
    """Return the ends of the 95 % percentile interval of one quantity, (resamples,)."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def interval(
    values: np.ndarray, patients: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float | None]:
    """Return mean, low and high of one value a visit; see `PatientBootstrap.interval`."""
    return PatientBootstrap(patients, resamples, seed).interval(values)


def paired_difference(
    a: np.ndarray, b: np.ndarray, patients: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float | None]:
    """Return difference, low and high of a − b; see `PatientBootstrap.paired_difference`."""
    return PatientBootstrap(patients, resamples, seed).paired_difference(a, b)


def _draws(patients: int, resamples: int, seed: int) -> np.ndarray:
    """Return how often each resample draws each patient, float (resamples, patients)."""
    chosen = np.random.default_rng(seed).integers(max(patients, 1), size=(resamples, patients))
    cell = chosen + np.arange(resamples)[:, None] * patients
    counts = np.bincount(cell.ravel(), minlength=resamples * patients)
    return counts.reshape(resamples, patients).astype(float)

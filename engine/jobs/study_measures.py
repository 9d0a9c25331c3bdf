"""From predictions to figures: every model on the same visits, groups and patient resamples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.evaluation.bootstrap import PatientBootstrap
from engine.evaluation.calibration import expected_calibration_error
from engine.evaluation.interactions import interaction_rate
from engine.evaluation.interactions import source as interaction_source
from engine.evaluation.metrics import visit_metrics
from engine.evaluation.reliability import reliability_bins
from engine.evaluation.subgroups import ADDED, AddedMedications, subgroups
from engine.records.labels import label_matrix
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary

PAIRED_METRICS = ("prauc", "jaccard", "f1")
Values = dict[str, dict[str, np.ndarray]]  # group → metric → (seeds, visits of the group)


@dataclass(frozen=True)
class Prediction:
    """What one model said of N visits; `claims` is whether its scores claim to be chances."""

    probability: np.ndarray  # float (N, L)
    selected: np.ndarray  # bool (N, L)
    score: np.ndarray | None = None  # float (N, L), ranks in place of the probability
    claims: bool = True


class Yardstick:
    """N visits, their groups, and one set of patient resamples for each group."""

    def __init__(
        self,
        visits: Sequence[Visit],
        training: Sequence[Visit],
        vocabulary: Vocabulary,
        resamples: int,
        seed: int = 0,
    ) -> None:
        self.vocabulary = vocabulary
        self.truth, self.missing = label_matrix(visits, vocabulary)
        self.added = AddedMedications(visits, vocabulary)
        masks = subgroups(visits, training, vocabulary)
        general = {name: masks.pop(name) for name in ("overall", "first_visit", "returning")}
        self.masks = general | {ADDED: self.added.mask} | masks
        patients = np.array([visit.patient_id for visit in visits])
        self.bootstraps = {
            group: PatientBootstrap(patients[mask], resamples, seed)
            for group, mask in self.masks.items()
        }

    def values(self, predictions: Sequence[Prediction]) -> Values:
        """Return every metric of every visit, by group; one prediction a seed."""
        runs = [self._run(prediction) for prediction in predictions]
        return {
            group: {metric: np.stack([run[group][metric] for run in runs]) for metric in named}
            for group, named in runs[0].items()
        }

    def summary(self, predictions: Sequence[Prediction], values: Values) -> dict:
        """Return group → metric → {mean, low, high, spread}, seeds averaged.

        The interval is over patients, of the seeds' mean; `spread` is the standard deviation of
        the seeds' means, None with one seed.
        """
        report = {
            group: {
                metric: self.bootstraps[group].interval(array.mean(axis=0))
                | {"spread": _spread(array.mean(axis=1) if array.shape[1] else [])}
                for metric, array in named.items()
            }
            for group, named in values.items()
        }
        for group in values.keys() - {ADDED}:
            mask = self.masks[group]
            errors = [
                expected_calibration_error(one.probability[mask], self.truth[mask])
                for one in predictions
                if one.claims
            ]
            if errors and mask.any():
                # No interval: resampling inflates this error, so a percentile interval misleads.
                report[group]["expected_calibration_error"] = {
                    "mean": float(np.mean(errors)),
                    "low": None,
                    "high": None,
                    "spread": _spread(errors),
                }
        return report

    def reliability(self, predictions: Sequence[Prediction]) -> list[dict]:
        """Return the reliability bins of all visits; one prediction a seed, in the same bins."""
        probability = np.concatenate([one.probability for one in predictions])
        return reliability_bins(probability, np.concatenate([self.truth] * len(predictions)))

    def paired(self, a: str, b: str, values: dict[str, Values]) -> list[dict]:
        """Return a − b on the same visits, seeds averaged, for every group and paired metric."""
        return [
            {"a": a, "b": b, "group": group, "metric": metric}
            | self.bootstraps[group].paired_difference(
                values[a][group][metric].mean(axis=0), values[b][group][metric].mean(axis=0)
            )
            for group in self.masks
            for metric in PAIRED_METRICS
        ]

    def interactions(self) -> str:
        """Name the source of the interaction rates."""
        return interaction_source(self.vocabulary)

    def counts(self) -> dict:
        """Return group → visits, patients, mean number of groups prescribed, interaction rate."""
        prescribed = self.truth.sum(axis=1) + self.missing
        added = self.added.truth.sum(axis=1) + self.added.missing
        rate = interaction_rate(self.truth, self.vocabulary)
        found = {}
        for group, mask in self.masks.items():
            medications = (added if group == ADDED else prescribed)[mask]
            found[group] = {
                "visits": self.bootstraps[group].visits,
                "patients": self.bootstraps[group].patients,
                "medications": float(medications.mean()) if mask.any() else None,
                "interaction_rate": float(rate[mask].mean())
                if mask.any() and group != ADDED
                else None,
            }
        return found

    def _run(self, one: Prediction) -> dict[str, dict[str, np.ndarray]]:
        everywhere = visit_metrics(
            self.truth, one.probability, one.selected, self.missing, one.score
        )
        everywhere["interaction_rate"] = interaction_rate(one.selected, self.vocabulary)
        found = {
            group: {metric: value[mask] for metric, value in everywhere.items()}
            for group, mask in self.masks.items()
        }
        found[ADDED] = self.added.metrics(
            one.probability if one.score is None else one.score, one.selected
        )
        return found


def _spread(means: Sequence[float]) -> float | None:
    return float(np.std(means, ddof=1)) if len(means) > 1 else None

"""Whom a mean hides: groups of visits that are measured on their own.

    masks = subgroups(visits, training, vocabulary)      name → bool (N,)

Beside them stands a group of *labels*: the medications added since the previous visit, where
copying the past cannot help (`AddedMedications`).
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from engine.evaluation.metrics import visit_metrics
from engine.records.schema import Visit, profile_value
from engine.records.vocabulary import UNKNOWN, Vocabulary

ADDED = "added"
TITLES = {
    "overall": "Overall",
    "first_visit": "First visits",
    "returning": "Returning patients",
    ADDED: "Added medications",
    "rare_diagnosis": "Rare leading diagnosis",
    "unseen_code": "Codes unseen in training",
}
FREQUENT_SHARE = 0.8  # of the training mentions: what is outside these codes is rare
DEMOGRAPHICS = ("sex", "age_band", "race", "insurance")
MINIMUM_PATIENTS = 10  # a demographic group of fewer says little and may point at a person


def subgroups(
    visits: Sequence[Visit], training: Sequence[Visit], vocabulary: Vocabulary
) -> dict[str, np.ndarray]:
    """Return name → bool (N,): which of N visits belong to it. An empty group is kept.

    `rare_diagnosis`: the leading diagnosis is not among the most frequent codes that make up
    80 % of the diagnoses mentioned in `training`. `unseen_code`: a diagnosis or procedure of the
    visit is not in the vocabulary. Demographic groups are called `sex: F`, of the fields in
    `DEMOGRAPHICS`, and left out below ten patients.
    """
    first = _mask(visits, lambda visit: visit.is_first)
    frequent = frequent_codes(training)
    masks = {
        "overall": np.ones(len(visits), dtype=bool),
        "first_visit": first,
        "returning": ~first,
        "rare_diagnosis": _mask(visits, lambda visit: visit.diagnoses[0] not in frequent),
        "unseen_code": _mask(visits, lambda visit: _has_unseen_code(visit, vocabulary)),
    }
    return masks | demographic_groups(visits)


def demographic_groups(
    visits: Sequence[Visit], fields: Sequence[str] = DEMOGRAPHICS
) -> dict[str, np.ndarray]:
    """Return `sex: F` and the like → bool (N,), of profile fields; those of ten patients or more.

    A value that is not on record makes a group called `unknown`.
    """
    masks = {}
    for field in fields:
        values = [profile_value(visit, field) or "unknown" for visit in visits]
        patients: dict[str, set[str]] = {}
        for visit, value in zip(visits, values, strict=True):
            patients.setdefault(value, set()).add(visit.patient_id)
        for value in sorted(patients):
            if len(patients[value]) >= MINIMUM_PATIENTS:
                masks[f"{field}: {value}"] = np.array([other == value for other in values])
    return masks


def title(group: str) -> str:
    """Return what a group is called in a table."""
    return TITLES.get(group) or group.replace("_", " ")


def frequent_codes(training: Sequence[Visit]) -> frozenset[str]:
    """Return the fewest diagnoses that make up 80 % of those mentioned in training visits."""
    mentions = Counter(code for visit in training for code in visit.diagnoses)
    wanted, seen, codes = FREQUENT_SHARE * mentions.total(), 0, set()
    for code, count in sorted(mentions.items(), key=lambda item: (-item[1], item[0])):
        if seen >= wanted:
            break
        codes.add(code)
        seen += count
    return frozenset(codes)


class AddedMedications:
    """Measures only what was added: groups given at a visit that the previous one did not have.

    `mask`, bool (N,), marks the visits that count: returning patients with medications on record
    at an earlier visit and at least one group added since.
    """

    def __init__(self, visits: Sequence[Visit], vocabulary: Vocabulary) -> None:
        shape = (len(visits), len(vocabulary.medications))
        self.before, self.truth = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        self.missing = np.zeros(len(visits), dtype=int)
        self.mask = np.zeros(len(visits), dtype=bool)
        for row, visit in enumerate(visits):
            previous = set(visit.previous_medications)
            added = [group for group in visit.medications if group not in previous]
            self.before[row, _columns(previous, vocabulary)] = True
            known = _columns(added, vocabulary)
            self.truth[row, known] = True
            self.missing[row] = len(added) - len(known)
            self.mask[row] = bool(previous) and bool(added)

    def metrics(self, probability: np.ndarray, selected: np.ndarray) -> dict[str, np.ndarray]:
        """Return `visit_metrics` of the marked visits, each an array (mask.sum(),).

        `probability` may be any score that ranks the groups.

        Groups of the previous visit count neither as hits nor as errors, and rank last.
        """
        rows, before = self.mask, self.before[self.mask]
        return visit_metrics(
            self.truth[rows],
            np.where(before, -np.inf, probability[rows]),
            selected[rows] & ~before,
            self.missing[rows],
        )


def _columns(groups, vocabulary: Vocabulary) -> list[int]:
    columns = (vocabulary.medication_index(group) for group in groups)
    return [column for column in columns if column is not None]


def _mask(visits: Sequence[Visit], belongs) -> np.ndarray:
    return np.array([belongs(visit) for visit in visits], dtype=bool)


def _has_unseen_code(visit: Visit, vocabulary: Vocabulary) -> bool:
    return any(vocabulary.diagnosis_index(code) == UNKNOWN for code in visit.diagnoses) or any(
        vocabulary.procedure_index(code) == UNKNOWN for code in visit.procedures
    )

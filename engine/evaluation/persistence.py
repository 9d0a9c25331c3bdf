"""How strongly prescriptions persist at a hospital: three numbers on top of a model's logits.

    habit = fit_persistence(logits, truth, given_before(visits, vocabulary))
    logits = habit.applied(logits, given_before(others, vocabulary))

Hospitals differ in how much of a patient's last list they continue, and a model brings the habit of
the one it learned from. So few numbers can be learned from the few dozen visits by which a model
that has never seen a hospital is calibrated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary

PENALTY = 2.0  # of a squared number: a handful of visits moves nothing far
GIVEN, NOT_GIVEN, FIRST_VISIT = 0, 1, 2


@dataclass(frozen=True)
class Persistence:
    """What is added to a group's logit, by what the patient had before."""

    given: float  # to the groups of the latest earlier visit that has medications
    not_given: float  # to all others of a returning patient
    first_visit: float  # to all of a patient without such a visit

    def applied(self, logits: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Return (visits, groups) logits moved; `before` as `given_before` gives it."""
        added = np.array([self.given, self.not_given, self.first_visit])
        return (logits + added[before]).astype(np.float32)


def given_before(visits: Sequence[Visit], vocabulary: Vocabulary) -> np.ndarray:
    """Return (visits, groups): `GIVEN`, `NOT_GIVEN` or `FIRST_VISIT` of each group."""
    column = {group: number for number, group in enumerate(vocabulary.medications)}
    before = np.full((len(visits), len(column)), FIRST_VISIT)
    for row, visit in zip(before, visits, strict=True):
        lists = [past.medications for past in visit.history if past.medications]
        if lists:
            row[:] = NOT_GIVEN
            row[[column[group] for group in lists[-1] if group in column]] = GIVEN
    return before


def fit_persistence(logits: np.ndarray, truth: np.ndarray, before: np.ndarray) -> Persistence:
    """Return the numbers that explain `truth` (visits, groups) best, kept near zero.

    Minimises Σ cross-entropy + `PENALTY` · Σ number².
    """
    given = np.asarray(truth, dtype=float)
    kinds = [before == kind for kind in (GIVEN, NOT_GIVEN, FIRST_VISIT)]

    def loss_and_gradient(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        moved = logits + numbers[before]
        residual = 1 / (1 + np.exp(-moved)) - given
        loss = (np.logaddexp(0, moved) - given * moved).sum() + PENALTY * (numbers**2).sum()
        slope = np.array([residual[kind].sum() for kind in kinds])
        return loss, slope + 2 * PENALTY * numbers

    found = minimize(loss_and_gradient, np.zeros(3), jac=True, method="L-BFGS-B").x
    return Persistence(*map(float, found))

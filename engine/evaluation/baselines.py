"""What a model must beat: the most frequent groups, the previous visit, a logistic regression.

Each is fitted on training visits, settles its one choice on validation visits, and predicts a
probability and a selection for every group of the vocabulary. Like the models they are compared
with, they cannot name a group outside it.
"""

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.feature_extraction import DictVectorizer
from tqdm import tqdm

from engine.errors import WorkbenchError
from engine.evaluation.calibration import best_threshold
from engine.evaluation.metrics import average_precision, jaccard
from engine.logistic import fit_logistic
from engine.records.labels import label_matrix
from engine.records.schema import PROFILE_FIELDS, Visit, profile_value
from engine.records.vocabulary import Vocabulary

Prediction = tuple[np.ndarray, np.ndarray]  # probability float (N, L), selected bool (N, L)

REGULARISATION = (0.01, 0.03, 0.1, 0.3, 1.0)  # C of the logistic regression, strongest first
MINIMUM_VISITS = 2  # a feature of a single training visit says nothing about another visit


class MostFrequent:
    """Recommends the same k groups to everyone: those most often prescribed in training.

    `k` has the highest mean Jaccard on validation. Probability = training frequency.
    """

    def fit(
        self, train: list[Visit], validation: list[Visit], vocabulary: Vocabulary
    ) -> "MostFrequent":
        """Learn the frequencies and choose k. Raises WorkbenchError when a part is empty."""
        require_visits(train, validation)
        self.frequency = label_matrix(train, vocabulary)[0].mean(axis=0)
        truth, missing = label_matrix(validation, vocabulary)

        def merit(k: int) -> float:
            return jaccard(truth, self._top(k)[None, :], missing).mean()

        self.k = max(range(1, len(self.frequency) + 1), key=merit)
        return self

    def predict(self, visits: list[Visit]) -> Prediction:
        """Return probability (N, L) and selection (N, L), the same row for every visit."""
        rows = (len(visits), 1)
        return np.tile(self.frequency, rows), np.tile(self._top(self.k), rows)

    def _top(self, k: int) -> np.ndarray:
        top = np.zeros(len(self.frequency), dtype=bool)
        top[np.argsort(-self.frequency, kind="stable")[:k]] = True
        return top


class CopyPrevious:
    """Recommends what the patient had at the latest earlier visit with a medication on record.

    A patient without such a visit has nothing to copy and gets the most frequent k.
    """

    def fit(
        self, train: list[Visit], validation: list[Visit], vocabulary: Vocabulary
    ) -> "CopyPrevious":
        """Fit the fallback. Raises WorkbenchError when a part is empty."""
        self.vocabulary = vocabulary
        self.fallback = MostFrequent().fit(train, validation, vocabulary)
        return self

    def predict(self, visits: list[Visit]) -> Prediction:
        """Return scores (N, L) and selection (N, L).

        The scores only rank. Where there is a visit to copy, its groups come first, from 2/3 to
        1, and the others follow, from 0 to 1/3, each part in the order of training frequency.
        """
        frequency, selected = self.fallback.predict(visits)
        previous = [visit.previous_medications for visit in visits]
        has_previous = np.array([bool(groups) for groups in previous], dtype=bool)
        copied = np.zeros((has_previous.sum(), frequency.shape[1]), dtype=bool)
        for row, groups in enumerate(groups for groups in previous if groups):
            columns = (self.vocabulary.medication_index(group) for group in groups)
            copied[row, [column for column in columns if column is not None]] = True
        selected[has_previous] = copied
        score = frequency
        score[has_previous] = (2 * copied + frequency[has_previous]) / 3
        return score, selected


class LogisticRegressionBaseline:
    """One L2-regularised logistic regression a group, on everything the models may read.

    Features: diagnoses, procedures, the medications of the previous medicated visit and of any
    earlier visit, profile fields, whether this is the first visit, and log(1 + earlier visits).
    `regularisation` is the C of scikit-learn, one for all groups, with the highest PRAUC on
    validation; `threshold` has the highest Jaccard there.
    """

    def fit(
        self, train: list[Visit], validation: list[Visit], vocabulary: Vocabulary
    ) -> "LogisticRegressionBaseline":
        """Fit one model for each C and keep the best. Raises WorkbenchError on an empty part."""
        require_visits(train, validation)
        self._vectorizer = DictVectorizer()
        inputs = self._vectorizer.fit_transform(_features(visit) for visit in train)
        common = inputs.getnnz(axis=0) >= MINIMUM_VISITS
        if common.any():
            self._vectorizer.restrict(common)
            inputs = inputs[:, common]
        targets = label_matrix(train, vocabulary)[0]
        held_out = self._vectorizer.transform(_features(visit) for visit in validation)
        truth, missing = label_matrix(validation, vocabulary)

        weights, best = None, -1.0
        for strength in tqdm(REGULARISATION, desc="Logistic regression", disable=None):
            weights = fit_logistic(inputs, targets, strength, start=weights)
            probability = _probability(held_out, weights)
            prauc = average_precision(truth, probability, missing).mean()
            if prauc > best:
                best, self.regularisation, self._weights = prauc, strength, weights
                self.threshold = best_threshold(probability, truth, missing)
        return self

    def predict(self, visits: list[Visit]) -> Prediction:
        """Return probability (N, L) and selection (N, L)."""
        if not visits:
            empty = np.zeros((0, self._weights.shape[1]))
            return empty, empty.astype(bool)
        inputs = self._vectorizer.transform(_features(visit) for visit in visits)
        probability = _probability(inputs, self._weights)
        return probability, probability >= self.threshold


def _probability(inputs: csr_matrix, weights: np.ndarray) -> np.ndarray:
    return expit(inputs @ weights[:-1] + weights[-1])


def _features(visit: Visit) -> dict[str, float]:
    """Return a visit as named features. Names unseen in training are ignored at prediction."""
    names = [f"diagnosis {code}" for code in visit.diagnoses]
    names += [f"procedure {code}" for code in visit.procedures]
    names += [f"previous {group}" for group in visit.previous_medications]
    names += [f"ever {group}" for earlier in visit.history for group in earlier.medications]
    names += [f"{field} {profile_value(visit, field) or 'unknown'}" for field in PROFILE_FIELDS]
    features = dict.fromkeys(names, 1.0)
    features["first visit"] = float(visit.is_first)
    features["earlier visits"] = float(np.log1p(len(visit.history)))
    return features


def require_visits(train: list[Visit], validation: list[Visit]) -> None:
    for part, visits in (("training", train), ("validation", validation)):
        if not visits:
            raise WorkbenchError(
                f"the {part} part of the cohort has no visit with a diagnosis and a medication; "
                "ingest more patients"
            )

"""What the most similar patients were given, blended with what this patient had before."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction import DictVectorizer
from tqdm import tqdm

from engine.evaluation.baselines import Prediction, require_visits
from engine.evaluation.calibration import best_threshold
from engine.evaluation.metrics import average_precision
from engine.records.labels import label_matrix
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary

NEIGHBOURS = (5, 10, 20, 40, 80, 160)  # k is one of these
WEIGHTS = tuple(number / 10 for number in range(11))  # of the patient's own previous prescription
PRIOR = 0.01  # similarity that everyone has to the average training visit
CELLS = 2**23  # similarities held at a time: 32 MB


class NearestNeighbour:
    """Shares of the k most similar training visits, and the patient's previous prescription.

    Two visits are as similar as their sets of diagnoses, procedures and previous medications:
    similarity(a, b) = Σ idf over a ∩ b / Σ idf over a ∪ b, with idf = log(N / visits that have
    the code), a weighted Jaccard in which rare codes count most. A group's share is the
    similarity-weighted share of the neighbours that were given it, with the training frequency
    as one more neighbour of similarity 0.01, so that a visit like no other gets the frequencies.

    For a patient with an earlier prescription, probability = (1 − w) · share + w · [in the
    latest earlier prescription]. `k` and `previous_weight` (w) have the highest PRAUC on
    validation, `threshold` the highest Jaccard there. The scores rank; nothing calibrates them.
    """

    parameters = 0  # nothing is learnt by gradient: the training visits themselves are kept

    def fit(
        self, train: list[Visit], validation: list[Visit], vocabulary: Vocabulary, seed: int = 0
    ) -> "NearestNeighbour":
        """Keep the training visits and choose k, w and the threshold.

        `seed` is taken for the sake of the neural baselines' interface: nothing here is random.
        Raises WorkbenchError when a part is empty.
        """
        require_visits(train, validation)
        self.vocabulary = vocabulary
        self._vectorizer = DictVectorizer(dtype=np.float32)
        self._codes = self._vectorizer.fit_transform(_codes(visit) for visit in train)
        self._idf = np.log(len(train) / self._codes.getnnz(axis=0)).astype(np.float32)
        self._mass = self._codes @ self._idf
        labels = label_matrix(train, vocabulary)[0]
        self._labels, self._frequency = labels.astype(np.float32), labels.mean(axis=0)

        truth, missing = label_matrix(validation, vocabulary)
        sizes = sorted({min(k, len(train)) for k in NEIGHBOURS})
        shares = self._shares(validation, sizes)

        def probability(k: int, weight: float) -> np.ndarray:
            return self._blend(shares[sizes.index(k)], validation, weight)

        def merit(choice: tuple[int, float]) -> float:
            return average_precision(truth, probability(*choice), missing).mean()

        choices = [(k, weight) for k in sizes for weight in WEIGHTS]
        self.k, self.previous_weight = max(choices, key=merit)
        chosen = probability(self.k, self.previous_weight)
        self.threshold = best_threshold(chosen, truth, missing)
        return self

    def predict(self, visits: list[Visit]) -> Prediction:
        """Return scores from 0 to 1 (N, L) and selection (N, L)."""
        shares = self._shares(visits, [self.k])[0]
        probability = self._blend(shares, visits, self.previous_weight)
        return probability, probability >= self.threshold

    def _shares(self, visits: Sequence[Visit], sizes: Sequence[int]) -> np.ndarray:
        """Return the weighted shares (sizes, N, L) among the nearest k, for each k of `sizes`."""
        found = np.empty((len(sizes), len(visits), self._labels.shape[1]))
        for rows, nearest, similarity in self._nearest(visits, max(sizes)):
            for number, k in enumerate(sizes):
                starts = np.arange(len(nearest) + 1) * k
                parts = (similarity[:, :k].ravel(), nearest[:, :k].ravel(), starts)
                given = csr_matrix(parts, shape=(len(nearest), len(self._labels))) @ self._labels
                total = similarity[:, :k].sum(axis=1, keepdims=True)
                found[number, rows] = (given + PRIOR * self._frequency) / (total + PRIOR)
        return found

    def _nearest(
        self, visits: Sequence[Visit], k: int
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield rows of `visits`, their k nearest training visits, nearest first, and similarity.

        Equally similar visits come in the order of training, so that a run can be repeated.
        """
        step = max(1, CELLS // len(self._mass))
        for start in tqdm(range(0, len(visits), step), desc="Nearest neighbour", disable=None):
            part = visits[start : start + step]
            codes = self._vectorizer.transform(_codes(visit) for visit in part)
            shared = (codes.multiply(self._idf).tocsr() @ self._codes.T).toarray()
            union = (codes @ self._idf)[:, None] + self._mass - shared
            similarity = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
            nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
            rows = slice(start, start + len(part))
            yield rows, nearest, np.take_along_axis(similarity, nearest, axis=1)

    def _blend(self, shares: np.ndarray, visits: Sequence[Visit], weight: float) -> np.ndarray:
        blended = shares.copy()
        for row, visit in enumerate(visits):
            if not visit.previous_medications:
                continue
            columns = map(self.vocabulary.medication_index, visit.previous_medications)
            blended[row] *= 1 - weight
            blended[row, [column for column in columns if column is not None]] += weight
        return blended


def _codes(visit: Visit) -> dict[str, float]:
    """Return a visit as named codes; a visit without any still has to be a row."""
    names = [f"diagnosis {code}" for code in visit.diagnoses]
    names += [f"procedure {code}" for code in visit.procedures]
    names += [f"previous {group}" for group in visit.previous_medications]
    return dict.fromkeys(names, 1.0)

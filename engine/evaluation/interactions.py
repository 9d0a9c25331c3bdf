"""How often medication groups that interact are recommended together, visit by visit.

Rates of the field (GAMENet, arXiv 1809.01852, section 4.2; SafeDrug, arXiv 2105.02711, section
5.2) are the share of interacting pairs among the recommended ones. Theirs come from TWOSIDES; ours
from `engine.terminology.interactions`. The two do not compare, and every rate must be read beside
that of the true prescriptions.
"""

import numpy as np

from engine.records.vocabulary import Vocabulary
from engine.terminology.interactions import COUNTED_SHARE, Severity, describe, matrix


def interaction_rate(
    selection: np.ndarray,
    vocabulary: Vocabulary,
    least: Severity = "major",
    share: float = COUNTED_SHARE,
) -> np.ndarray:
    """Return the share of the pairs of selected groups that interact, per visit, (N,).

    `selection` is bool (N, L). Fewer than two groups have no pair: their rate is 0. `least` and
    `share` say which pairs count, as in `engine.terminology.interactions.matrix`.
    """
    return expected_rate(np.asarray(selection, dtype=float), vocabulary, least, share)


def expected_rate(
    probability: np.ndarray,
    vocabulary: Vocabulary,
    least: Severity = "major",
    share: float = COUNTED_SHARE,
) -> np.ndarray:
    """Return sum A_ij p_i p_j / sum p_i p_j over the pairs of groups i < j, per visit, (N,).

    `probability` is (N, L); A is the interaction matrix. For groups drawn independently it is the
    expected number of interacting pairs over that of all pairs; for a yes or no it is
    `interaction_rate`. 0 where nothing can be paired.
    """
    probability = np.asarray(probability, dtype=float)
    interacts = matrix(vocabulary.medications, least, share).astype(float)
    together = ((probability @ interacts) * probability).sum(axis=1) / 2
    pairs = (probability.sum(axis=1) ** 2 - (probability**2).sum(axis=1)) / 2
    # What rounding leaves of the pairs of a single group is no pair.
    return np.divide(together, pairs, out=np.zeros_like(pairs), where=pairs > 1e-12)


def source(vocabulary: Vocabulary) -> str:
    """Name the source and the vocabulary of the rates above, for the reader of a report."""
    return describe(vocabulary.medications)

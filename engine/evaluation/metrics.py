"""How close a recommended set of medication groups comes to what was prescribed, visit by visit.

Every metric has a value for every visit. One rule settles the empty sets: nothing recommended
where nothing was prescribed is a perfect answer (1), any other ratio over nothing is 0.
"""

import numpy as np

METRICS = ("jaccard", "prauc", "f1", "precision", "recall", "medications")


def visit_metrics(
    truth: np.ndarray,
    probability: np.ndarray,
    selected: np.ndarray,
    missing: np.ndarray | None = None,
    ranking: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return each of `METRICS` as an array (N,), for N visits and L medication groups.

    `truth` and `selected` are bool (N, L), `probability` is float (N, L). `missing`, int (N,),
    counts prescribed groups outside the L columns: positives that are never retrieved. Nothing
    is missing when it is None. `medications` is the number of groups selected. `ranking`, float
    (N, L), ranks the groups for "prauc" in place of the probability, such as the logits: a
    calibrated probability may be the same for groups that the model tells apart.

    Raises ValueError when the shapes differ or a probability is not a number.
    """
    truth, selected = np.asarray(truth, dtype=bool), np.asarray(selected, dtype=bool)
    if not truth.shape == selected.shape == np.shape(probability):
        raise ValueError(
            f"truth {truth.shape}, probability {np.shape(probability)} and "
            f"selected {selected.shape} must have one shape"
        )
    ranking = probability if ranking is None else ranking
    return {
        "jaccard": jaccard(truth, selected, missing),
        "prauc": average_precision(truth, ranking, missing),
        "f1": f1(truth, selected, missing),
        "precision": precision(truth, selected, missing),
        "recall": recall(truth, selected, missing),
        "medications": selected.sum(axis=1).astype(float),
    }


def jaccard(
    truth: np.ndarray, selected: np.ndarray, missing: np.ndarray | None = None
) -> np.ndarray:
    """Return |prescribed ∩ selected| / |prescribed ∪ selected| per visit, (N,)."""
    both, prescribed, chosen = _sizes(truth, selected, missing)
    return _ratio(both, prescribed + chosen - both, prescribed, chosen)


def f1(truth: np.ndarray, selected: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
    """Return the harmonic mean of precision and recall per visit, (N,)."""
    both, prescribed, chosen = _sizes(truth, selected, missing)
    return _ratio(2 * both, prescribed + chosen, prescribed, chosen)


def precision(
    truth: np.ndarray, selected: np.ndarray, missing: np.ndarray | None = None
) -> np.ndarray:
    """Return the share of the selected groups that were prescribed, per visit, (N,)."""
    both, prescribed, chosen = _sizes(truth, selected, missing)
    return _ratio(both, chosen, prescribed, chosen)


def recall(
    truth: np.ndarray, selected: np.ndarray, missing: np.ndarray | None = None
) -> np.ndarray:
    """Return the share of the prescribed groups that were selected, per visit, (N,)."""
    both, prescribed, chosen = _sizes(truth, selected, missing)
    return _ratio(both, prescribed, prescribed, chosen)


def average_precision(
    truth: np.ndarray, probability: np.ndarray, missing: np.ndarray | None = None
) -> np.ndarray:
    """Return the average precision of each visit's ranking, (N,); its mean is called PRAUC.

    AP = Σₙ (Rₙ − Rₙ₋₁) Pₙ over the distinct thresholds n, as scikit-learn defines it: groups
    with equal probability are retrieved together. Missing groups raise the number of positives
    and are never retrieved. A visit with no positive scores 0.

    Raises ValueError when a probability is not a number.
    """
    if np.isnan(probability).any():
        raise ValueError("a probability is not a number")
    visits, groups = truth.shape
    order = np.argsort(-probability, axis=1, kind="stable")
    ranked = np.take_along_axis(truth, order, axis=1)
    scores = np.take_along_axis(probability, order, axis=1)

    # Rank at which each group is retrieved: the last rank that shares its probability.
    last_of_tie = np.ones((visits, groups), dtype=bool)
    last_of_tie[:, :-1] = scores[:, 1:] != scores[:, :-1]
    rank = np.where(last_of_tie, np.arange(groups), groups)
    rank = np.minimum.accumulate(rank[:, ::-1], axis=1)[:, ::-1]

    precision_at = np.take_along_axis(ranked.cumsum(axis=1), rank, axis=1) / (rank + 1)
    positives = ranked.sum(axis=1) + (0 if missing is None else missing)
    return (ranked * precision_at).sum(axis=1) / np.maximum(positives, 1)


def _sizes(truth, selected, missing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sizes of the intersection, of the prescribed set and of the selected set."""
    prescribed = truth.sum(axis=1) + (0 if missing is None else missing)
    return (truth & selected).sum(axis=1), prescribed, selected.sum(axis=1)


def _ratio(numerator, denominator, prescribed, chosen) -> np.ndarray:
    both_empty = prescribed + chosen == 0
    return np.where(both_empty, 1.0, numerator / np.maximum(denominator, 1))

"""Many logistic regressions on the same sparse features, fitted as one problem."""

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit, logit

MAX_ITERATIONS = 300
TOLERANCE = 1e-6  # relative change of the loss; a tighter one moves PRAUC by less than 0.001


def fit_logistic(
    inputs: csr_matrix, targets: np.ndarray, strength: float, start: np.ndarray | None = None
) -> np.ndarray:
    """Return weights (F + 1, L), the last row the intercepts, of L logistic regressions.

    Minimises Σ cross-entropy + |w|² / (2 C) with C = `strength` and free intercepts, as
    scikit-learn does for one label, for all labels in one L-BFGS problem. `inputs` is sparse
    (N, F), `targets` bool (N, L). A label that is always or never true in training gets its
    smoothed frequency, (positives + ½) / (N + 1), and no other weight.
    """
    visits, features = inputs.shape
    frequency = (targets.sum(axis=0) + 0.5) / (visits + 1)
    weights = np.zeros((features + 1, targets.shape[1]))
    weights[-1] = logit(frequency)
    varies = targets.any(axis=0) & ~targets.all(axis=0)
    if not varies.any():
        return weights

    first = weights if start is None else start
    weights[:, varies] = _minimum(inputs, targets[:, varies], strength, first[:, varies], free=True)
    return weights


def fit_change(
    inputs: csr_matrix, targets: np.ndarray, strength: float, weights: np.ndarray
) -> np.ndarray:
    """Return `weights` (F + 1, L) moved towards new visits, no further than these warrant.

    Minimises Σ cross-entropy + |w - weights|² / (2 C), intercepts included: the posterior mode
    when the old weights are the prior's mean. Arguments as for `fit_logistic`.
    """
    nowhere = np.zeros_like(weights)
    offset = inputs @ weights[:-1] + weights[-1]
    return weights + _minimum(inputs, targets, strength, nowhere, free=False, offset=offset)


def _minimum(
    inputs: csr_matrix,
    targets: np.ndarray,
    strength: float,
    first: np.ndarray,
    free: bool,
    offset: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Find the weights, from `first` on; `free` leaves intercepts out of the penalty."""
    visits, known, shape = inputs.shape[0], targets.astype(float), first.shape
    transposed = inputs.T.tocsr()
    penalised = np.full((shape[0], 1), 1 / strength)
    penalised[-1] = 0 if free else 1 / strength

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        current = flat.reshape(shape)
        logits = inputs @ current[:-1] + current[-1] + offset
        loss = (np.logaddexp(0, logits) - known * logits).sum()
        penalty = (penalised * current**2).sum() / 2
        error = expit(logits) - known
        gradient = np.vstack([transposed @ error, error.sum(axis=0)]) + penalised * current
        # Per visit, so that stopping means the same for every cohort size.
        return (loss + penalty) / visits, gradient.ravel() / visits

    found = minimize(
        loss_and_gradient,
        first.ravel(),
        method="L-BFGS-B",
        jac=True,
        options={"maxiter": MAX_ITERATIONS, "gtol": 1e-4, "ftol": TOLERANCE},
    )
    return found.x.reshape(shape)

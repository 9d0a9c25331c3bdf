"""The losses of distillation (LEADER, arXiv 2402.02803, sections 3.3 and 3.4).

L = BCE(logits, labels) + alpha * KD + beta * alignment, to which a recipe may add the
distillation of logits and the interaction rate; `engine/student/objective.py` puts them together.
"""

import torch
from torch.nn import functional


def distillation(projected: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Mean squared error between projected student features and teacher hidden states.

    Both are (visits, hidden_size); the hidden states are standardised by the training set.
    """
    if projected.shape != hidden.shape:
        raise ValueError(f"features {tuple(projected.shape)} against {tuple(hidden.shape)}")
    return functional.mse_loss(projected, hidden)


def logit_distillation(
    logits: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """T^2 * BCE(logits / T, sigmoid(teacher / T)), averaged over visits and groups.

    Both are (visits, groups). Hinton et al. 2015 (arXiv 1503.02531, section 2) soften a softmax
    with a temperature T; labels that do not exclude each other are softened one by one. The factor
    T^2 keeps the gradients as large as those of the labels, whatever T.
    """
    if logits.shape != teacher.shape:
        raise ValueError(f"logits {tuple(logits.shape)} against {tuple(teacher.shape)}")
    softened = torch.sigmoid(teacher / temperature)
    loss = functional.binary_cross_entropy_with_logits(logits / temperature, softened)
    return temperature**2 * loss


def interaction(
    logits: torch.Tensor, interacts: torch.Tensor, target: float | None = None
) -> torch.Tensor:
    """Mean over visits of the expected interaction rate, or of what of it exceeds `target`.

    `logits` are (visits, groups), `interacts` is the symmetric matrix A (groups, groups) of zeros
    and ones. The rate is sum A_ij p_i p_j / sum p_i p_j over the pairs i < j. The sum above is the
    loss of GAMENet (arXiv 1809.01852, equation 14) and SafeDrug (arXiv 2105.02711, equation 11);
    divided by all pairs, it cannot be lowered by recommending less of everything. A target takes
    the place of SafeDrug's acceptance rate: a visit below it adds nothing.
    """
    if interacts.shape != (logits.shape[1], logits.shape[1]):
        raise ValueError(f"{logits.shape[1]} groups against a matrix {tuple(interacts.shape)}")
    probability = torch.sigmoid(logits)
    together = ((probability @ interacts) * probability).sum(dim=1) / 2
    pairs = (probability.sum(dim=1).square() - probability.square().sum(dim=1)) / 2
    rate = together / pairs.clamp_min(1e-6)
    return torch.relu(rate - (target or 0.0)).mean()


def alignment(profile: torch.Tensor, medications: torch.Tensor, temperature: float) -> torch.Tensor:
    """Symmetric InfoNCE between profile embeddings and encoded medication sets.

    Both are (visits, features). Row i of one belongs to row i of the other; the other rows are
    its negatives, and the positive stands in the denominator, so the loss of a batch of one is 0.
    """
    if profile.shape != medications.shape:
        raise ValueError(f"profiles {tuple(profile.shape)} against {tuple(medications.shape)}")
    similarity = functional.normalize(profile, dim=1) @ functional.normalize(medications, dim=1).T
    similarity = similarity / temperature
    target = torch.arange(len(profile), device=profile.device)
    forward = functional.cross_entropy(similarity, target)
    return (forward + functional.cross_entropy(similarity.T, target)) / 2

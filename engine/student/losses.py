"""The losses of distillation (LEADER, arXiv 2402.02803, sections 3.3 and 3.4).

L = BCE(logits, labels) + alpha * KD + beta * alignment
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

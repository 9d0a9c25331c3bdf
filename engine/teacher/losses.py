"""Losses of the teacher: binary cross-entropy, and its variants for rare medication groups."""

import torch
from torch import nn
from torch.nn import functional

from engine.config import TeacherRecipe


class MultiLabelLoss(nn.Module):
    """Binary cross-entropy over medication groups; class weighting, smoothing and focus by recipe.

    With z a logit, p = sigmoid(z), y a target and w the group's weight, the mean over visits and
    groups of

        w · y' · (1 - p)^gamma · -log p  +  (1 - y') · p^gamma · -log(1 - p)

    where y' = (1 - epsilon) · y + epsilon / 2 (label smoothing: Szegedy et al., arXiv 1512.00567,
    section 7, for two classes) and gamma focuses on what is answered badly (focal loss: Lin et
    al., arXiv 1708.02002, equation 4). The defaults are plain binary cross-entropy.
    """

    def __init__(self, recipe: TeacherRecipe, labels: torch.Tensor) -> None:
        """Take the weights from (visits, groups) training targets."""
        super().__init__()
        self.smoothing = recipe.label_smoothing
        self.gamma = recipe.focal_gamma
        self.register_buffer("weight", group_weights(labels, recipe.class_weighting))

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of (visits, groups) logits, a scalar."""
        if self.smoothing:
            labels = (1 - self.smoothing) * labels + self.smoothing / 2
        if not self.gamma:
            return functional.binary_cross_entropy_with_logits(
                logits, labels, pos_weight=self.weight
            )
        given = labels * functional.softplus(-logits) * torch.sigmoid(-logits) ** self.gamma
        absent = (1 - labels) * functional.softplus(logits) * torch.sigmoid(logits) ** self.gamma
        if self.weight is not None:
            given = given * self.weight
        return (given + absent).mean()


def group_weights(labels: torch.Tensor, weighting: str) -> torch.Tensor | None:
    """Return (groups,) weights of the given targets, or None where every one counts the same.

    `balanced`: visits without the group over visits with it, so that both sides weigh the same
    (the `pos_weight` that the documentation of torch's BCEWithLogitsLoss recommends); `sqrt`: its
    square root. Half a visit is added on either side, so that no weight is infinite.
    """
    if weighting == "none":
        return None
    given = labels.sum(dim=0)
    ratio = (len(labels) - given + 0.5) / (given + 0.5)
    return ratio.sqrt() if weighting == "sqrt" else ratio

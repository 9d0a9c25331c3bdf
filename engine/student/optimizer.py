"""AdamW for the student, whose weights belong mostly to codes of which a batch has few.

Their gradients come sparse. AdamW moves a weight for as long as its moments last, whether or not
its code is in the batch, so they are written into dense gradients; those are kept from step to
step, and only the rows that were written are cleared. The steps are those of dense gradients.
"""

import torch

from engine.config import StudentRecipe
from engine.student.model import Student

FITTED_SLOWER = 0.4  # of the learning rate, for weights that start where a fit has ended


class DenselyUpdated(torch.optim.AdamW):
    """AdamW that takes sparse gradients as the dense ones that they stand for."""

    def __init__(self, groups: list[dict], rate: float) -> None:
        """Take groups of weights; one pass over memory a step (`fused`)."""
        super().__init__(groups, lr=rate, fused=True)
        self._kept: dict[torch.Tensor, torch.Tensor] = {}

    def step(self, closure=None) -> None:
        """Take one step and clear the gradients that came sparse."""
        written = []
        for weight in (weight for group in self.param_groups for weight in group["params"]):
            if weight.grad is not None and weight.grad.is_sparse:
                rows, values = weight.grad._indices()[0], weight.grad._values()
                if weight not in self._kept:
                    self._kept[weight] = torch.zeros_like(weight)
                weight.grad = self._kept[weight].index_add_(0, rows, values)
                written.append((weight, rows))
        super().step(closure)
        for weight, rows in written:
            weight.grad.index_fill_(0, rows, 0.0)
            weight.grad = None


def optimizer_for(
    student: Student, options: StudentRecipe, slower: float = 1.0
) -> torch.optim.AdamW:
    """Return AdamW over all weights, at `slower` times the learning rate of a recipe.

    The linear path has no decay: a rare code's weight is small enough by itself. Where it starts
    from the teacher's, which is fitted already, it goes slower.
    """
    every = list(student.parameters())
    direct = [] if student.linear_path is None else list(student.linear_path.parameters())
    known = set(map(id, direct))
    rest = [weight for weight in every if id(weight) not in known]
    groups = [{"params": rest, "weight_decay": options.weight_decay}]
    if direct:
        rate = slower * options.learning_rate
        rate *= FITTED_SLOWER if options.linear_path_from_teacher else 1.0
        groups.append({"params": direct, "weight_decay": 0.0, "lr": rate})
    return DenselyUpdated(groups, slower * options.learning_rate)

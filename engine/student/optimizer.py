"""AdamW for the student: one pass over memory a step, and gradients that stay where they are.

Most of a student's weights belong to codes of which a batch has few. Their gradients are sparse;
they are added into dense ones that are kept, since AdamW moves a weight for as long as its
moments last, whether or not its code is in the batch.
"""

import torch

from engine.config import StudentRecipe
from engine.student.model import Student


def optimizer_for(
    student: Student, options: StudentRecipe, slower: float = 1.0
) -> torch.optim.AdamW:
    """Return AdamW over all weights; clear its gradients with `set_to_none=False`.

    The linear path has no decay: a rare code's weight is small enough by itself.
    """
    for weight in student.parameters():
        weight.grad = torch.zeros_like(weight)
    groups = [{"params": list(student.parameters()), "weight_decay": options.weight_decay}]
    if student.linear_path is not None:
        direct = list(student.linear_path.parameters())
        known = {id(weight) for weight in direct}
        groups[0]["params"] = [one for one in student.parameters() if id(one) not in known]
        groups.append({"params": direct, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=slower * options.learning_rate, fused=True)

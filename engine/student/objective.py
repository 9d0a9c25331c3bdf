"""What the student's training lowers: every loss of a recipe, weighted and added up."""

import torch
from torch.nn import functional

from engine.config import StudentRecipe
from engine.student import losses
from engine.student.model import Student
from engine.student.packed import Packed


def objective(
    student: Student,
    batch: Packed,
    teacher: tuple[torch.Tensor, torch.Tensor] | None,
    options: StudentRecipe,
    labelled: int | None = None,
    interacts: torch.Tensor | None = None,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """L = BCE + alpha * KD + beta * alignment + gamma * logit KD + delta * interaction.

    What weighs 0 is not computed.

    Args:
        teacher: (visits, hidden_size) standardised hidden states and (visits, groups) logits;
            None when neither is learnt from.
        labelled: the first that many visits have labels; the rest learn from the teacher only.
        interacts: (groups, groups) which groups interact; needed with an interaction weight.

    Returns:
        the loss, and the value of each part, apart from the graph: reading one as a number would
        make a GPU wait.
    """
    output = student(batch)
    known = slice(0, labelled)
    labels = batch.labels(output.logits.shape[1])
    loss = functional.binary_cross_entropy_with_logits(output.logits[known], labels[known])
    parts = {"bce": loss}
    if options.distillation_weight:
        distillation = losses.distillation(student.projection(output.features), teacher[0])
        loss = loss + options.distillation_weight * distillation
        parts["distillation"] = distillation
    if options.logit_weight:
        softened = losses.logit_distillation(output.logits, teacher[1], options.logit_temperature)
        loss = loss + options.logit_weight * softened
        parts["logit_distillation"] = softened
    if options.alignment_weight:
        alignment = losses.alignment(
            output.profile[known], output.given[known], options.alignment_temperature
        )
        loss = loss + options.alignment_weight * alignment
        parts["alignment"] = alignment
    if options.interaction_weight:
        interaction = losses.interaction(output.logits, interacts, options.interaction_target)
        loss = loss + options.interaction_weight * interaction
        parts["interaction"] = interaction
    return loss, {name: part.detach() for name, part in {"loss": loss, **parts}.items()}

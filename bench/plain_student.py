"""The student as it is published: padded sets, padded histories, whole transformers.

Every set is padded to 100 codes and every patient to 10 visits, each token of which goes through
every layer; the linear path multiplies multi-hot vectors. It takes a student's own weights, so
that its answers can be compared with the fast ones, and shares no step of theirs but the looking
up of codes.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional

from engine.config import StudentRecipe
from engine.student import losses
from engine.student.attention import ReadingEncoder
from engine.student.linear_path import LinearPath
from engine.student.model import Output, SetEncoder, Student
from engine.student.tensors import PAD, Batch, Encoded, collate

CODES, VISITS = 100, 10


def padded(encoded: Sequence[Encoded], groups: int) -> Batch:
    """Collate visits, with `CODES` places for every set and `VISITS` rows for every patient."""
    batch = collate(encoded, groups)
    rows = functional.pad(
        batch.visit_rows, (max(0, VISITS - batch.visit_rows.shape[1]), 0), value=PAD
    )
    absent = rows == PAD

    def spread(sets: torch.Tensor) -> torch.Tensor:
        wide = functional.pad(sets, (0, max(0, CODES - sets.shape[1])), value=PAD)
        return wide[rows.clamp_min(0)].masked_fill(absent.unsqueeze(-1), PAD).flatten(0, 1)

    numbers = torch.arange(rows.numel()).view(rows.shape).masked_fill(absent, PAD)
    return Batch(
        spread(batch.diagnoses),
        spread(batch.procedures),
        spread(batch.medications),
        numbers,
        batch.profile,
        batch.labels,
    )


def answer(student: Student, batch: Batch) -> Output:
    """Return what `student` would, the plain way."""
    rows, present = batch.visit_rows, batch.visit_rows[:, -1]
    profile = student.nobody.expand(len(rows), -1)
    for field, embedding in enumerate(student.profile_embeddings):
        profile = profile + embedding(batch.profile[:, field])
    profile = student.profile_head(profile)
    medications = _sets(student.medication_encoder, batch.medications)
    encoded = [
        _history(student, _sets(student.diagnosis_encoder, batch.diagnoses), rows),
        _history(student, _sets(student.procedure_encoder, batch.procedures), rows),
        _history(student, medications.index_copy(0, present, profile), rows),
    ]
    features = student.features(torch.cat(encoded, dim=1))
    logits = student.score(features)
    if student.linear_path is not None:
        logits = logits + _linear(student.linear_path, batch)
    return Output(logits, features, profile, medications[present])


def loss(
    student: Student,
    batch: Batch,
    teacher: tuple[torch.Tensor, torch.Tensor],
    options: StudentRecipe,
) -> torch.Tensor:
    """Return the loss of labelled visits: labels, hidden states, logits and alignment."""
    output, (hidden, logits) = answer(student, batch), teacher
    aligned = losses.alignment(output.profile, output.given, options.alignment_temperature)
    total = functional.binary_cross_entropy_with_logits(output.logits, batch.labels)
    total = total + options.alignment_weight * aligned
    total = total + options.distillation_weight * losses.distillation(
        student.projection(output.features), hidden
    )
    if options.logit_weight:
        softened = losses.logit_distillation(output.logits, logits, options.logit_temperature)
        total = total + options.logit_weight * softened
    return total


def _sets(encoder: SetEncoder, sets: torch.Tensor) -> torch.Tensor:
    codes = functional.embedding(sets.clamp_min(0), encoder.embedding.weight)
    sequence = torch.cat([encoder.start.expand(len(sets), 1, -1), codes], dim=1)
    absent = functional.pad(sets == PAD, (1, 0), value=False)
    return _every_layer(encoder.encoder, sequence, absent)[:, 0]


def _history(student: Student, visits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    ago = torch.arange(rows.shape[1] - 1, -1, -1).clamp_max(student.recency.num_embeddings - 1)
    sequence = visits[rows.clamp_min(0)] + student.recency(ago)
    return _every_layer(student.visit_encoder, sequence, rows == PAD)[:, -1]


def _every_layer(
    encoder: ReadingEncoder, sequence: torch.Tensor, absent: torch.Tensor
) -> torch.Tensor:
    for layer in encoder.layers:
        sequence = layer(sequence, src_key_padding_mask=absent)
    return sequence


def _linear(path: LinearPath, batch: Batch) -> torch.Tensor:
    present, past = batch.visit_rows[:, -1:], batch.visit_rows[:, :-1]
    given = (batch.medications != PAD).any(dim=1)[past.clamp_min(0)] & (past != PAD)
    latest = functional.pad(past.masked_fill(~given, PAD), (1, 0), value=PAD)
    latest = latest.amax(dim=1, keepdim=True)
    logits = (
        _multi_hot(path.diagnoses, batch.diagnoses, present)
        + _multi_hot(path.procedures, batch.procedures, present)
        + _multi_hot(path.past_diagnoses, batch.diagnoses, past)
        + _multi_hot(path.ever, batch.medications, past)
        + _multi_hot(path.previous, batch.medications, latest)
    )
    for field, weights in enumerate(path.profile):
        logits = logits + weights(batch.profile[:, field])
    return logits


def _multi_hot(
    weights: torch.nn.EmbeddingBag, sets: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    codes = sets[rows.clamp_min(0)].masked_fill((rows == PAD).unsqueeze(-1), PAD).flatten(1)
    present = torch.zeros(len(rows), weights.num_embeddings).scatter_(1, codes + 1, 1.0)
    return present[:, 1:] @ weights.weight[1:]  # the first column took the padding

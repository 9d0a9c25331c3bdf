"""Tune a trained student on another hospital's few visits.

    adapted = adapt(student, recipe, vocabulary, training, validation, score)

Labels are all it learns from; it begins as it was, goes slower than in its first training, and is
left as it was when no pass over the visits made it better on validation.
"""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from engine.config import Recipe
from engine.records.labels import label_matrix
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary
from engine.student.inference import logits_of, ready
from engine.student.model import Student
from engine.student.optimizer import optimizer_for
from engine.student.packed import pack

SLOWER = 0.15  # of the recipe's learning rate; 0.5 was worse on the MIMIC-III demo
EPOCHS = 40
PATIENCE = 8  # passes without a better validation PRAUC before stopping
BATCH_SIZE = 16
Score = Callable[[np.ndarray, np.ndarray], dict[str, float]]  # (logits, labels) -> named metrics


def adapt(
    student: Student,
    recipe: Recipe,
    vocabulary: Vocabulary,
    training: Sequence[Visit],
    validation: Sequence[Visit],
    score: Score,
    seed: int = 0,
) -> Student:
    """Return a tuned copy of `student`; `score` must name `prauc`. Changes neither argument."""
    torch.manual_seed(seed)
    student = copy.deepcopy(student).train()
    reading = vocabulary, recipe.student.max_history, recipe.prompt.profile, student.categories
    packed, held_out = pack(training, *reading), pack(validation, *reading)
    optimizer = optimizer_for(student, recipe.student, SLOWER)
    labels = label_matrix(validation, vocabulary)[0]
    best = score(logits_of(student, held_out), labels)["prauc"]
    state, waited = copy.deepcopy(student.state_dict()), 0
    for _ in tqdm(range(EPOCHS), desc="student adapts", unit="epoch", leave=False):
        student.train()
        for rows in torch.randperm(len(packed)).split(BATCH_SIZE):
            batch = packed.select(rows)
            logits = student(batch).logits
            loss = functional.binary_cross_entropy_with_logits(
                logits, batch.labels(logits.shape[1])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        reached = score(logits_of(student, held_out), labels)["prauc"]
        waited += 1
        if reached > best:
            best, state, waited = reached, copy.deepcopy(student.state_dict()), 0
        if waited >= PATIENCE:
            break
    student.load_state_dict(state)
    return ready(student)

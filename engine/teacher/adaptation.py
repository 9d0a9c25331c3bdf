"""Tune a trained teacher's head on another hospital's few visits.

    head = adapt(head_of(teacher.model), hidden, labels, held_out, held_out_labels, score)

The adapters stay as they were: the hidden states are read once, and each tuning takes seconds.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01
EPOCHS = 60
PATIENCE = 10  # passes without a better validation PRAUC before stopping
BATCH_SIZE = 16
Score = Callable[[np.ndarray, np.ndarray], dict[str, float]]  # (logits, labels) -> named metrics


def adapt(
    head: nn.Module,
    hidden: np.ndarray,
    labels: np.ndarray,
    held_out: np.ndarray,
    held_out_labels: np.ndarray,
    score: Score,
    seed: int = 0,
) -> nn.Module:
    """Return a tuned copy of `head`; `score` must name `prauc`.

    `hidden` and `held_out` are (visits, width) hidden states as the head scores them, the
    labels (visits, groups). Left as it was when no pass made it better on `held_out`.
    """
    torch.manual_seed(seed)
    head = copy.deepcopy(head).float().cpu()
    for weight in head.parameters():
        weight.requires_grad_(True)
    states = torch.from_numpy(hidden)
    targets = torch.from_numpy(np.asarray(labels, dtype=np.float32))
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    best = score(logits(head, held_out), held_out_labels)["prauc"]
    state, waited = copy.deepcopy(head.state_dict()), 0
    for _ in tqdm(range(EPOCHS), desc="teacher's head adapts", unit="epoch", leave=False):
        for rows in torch.randperm(len(states)).split(BATCH_SIZE):
            loss = functional.binary_cross_entropy_with_logits(
                head.score(states[rows]), targets[rows]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        reached = score(logits(head, held_out), held_out_labels)["prauc"]
        waited += 1
        if reached > best:
            best, state, waited = reached, copy.deepcopy(head.state_dict()), 0
        if waited >= PATIENCE:
            break
    head.load_state_dict(state)
    return head


def logits(head: nn.Module, hidden: np.ndarray) -> np.ndarray:
    """Return (visits, groups) float32 logits of (visits, width) hidden states."""
    with torch.no_grad():
        return head.score(torch.from_numpy(hidden)).float().numpy()

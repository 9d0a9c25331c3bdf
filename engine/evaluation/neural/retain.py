"""RETAIN (Choi et al., NeurIPS 2016, arXiv 1608.05745), reverse-time attention over visits.

As in the paper (section 2.2): a visit's codes are summed embeddings v; two recurrent networks
read the visits from the latest to the oldest; the first gives each visit one weight
α = softmax(w · g + b), the second each dimension one weight β = tanh(W h + b); the patient is
c = Σ α β ⊙ v, and the answer a linear layer on c.

Not as in the paper: the answer is one sigmoid per medication group instead of a diagnosis; GRUs
take the recurrent networks' place; what is predicted for belongs to the input, so the latest
visit has its diagnoses and procedures but not its medications; our label set, every visit a
sample, and our shared training.
"""

from collections.abc import Sequence

import torch
from torch import nn

from engine.evaluation.neural.inputs import CodeSum, latest_first, of_visits
from engine.evaluation.neural.training import NeuralBaseline, Settings
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary
from engine.student.tensors import PAD, Batch


class Retain(NeuralBaseline):
    """RETAIN on diagnoses, procedures and past medications; it reads no profile."""

    name = "RETAIN"

    def build(self, vocabulary: Vocabulary, train: Sequence[Visit]) -> nn.Module:
        """Return the untrained network."""
        return RetainNetwork(vocabulary, self.settings)


class RetainNetwork(nn.Module):
    """Codes of all visits in, one logit per medication group out."""

    def __init__(self, vocabulary: Vocabulary, settings: Settings) -> None:
        super().__init__()
        size, groups = settings.size, len(vocabulary.medications)
        self.diagnoses = CodeSum(len(vocabulary.diagnoses), size)
        self.procedures = CodeSum(len(vocabulary.procedures), size)
        self.medications = CodeSum(groups, size)
        self.dropout = nn.Dropout(settings.dropout)
        self.visit_reader = nn.GRU(size, size, batch_first=True)
        self.visit_weight = nn.Linear(size, 1)
        self.code_reader = nn.GRU(size, size, batch_first=True)
        self.code_weight = nn.Linear(size, size)
        self.score = nn.Linear(size, groups)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Map a batch without answers to logits (visits, groups)."""
        rows = latest_first(batch.visit_rows)
        codes = (
            self.diagnoses(batch.diagnoses)
            + self.procedures(batch.procedures)
            + self.medications(batch.medications + 1)
        )
        visits = self.dropout(of_visits(codes, rows))
        # The padding comes last, so nothing that the recurrent networks keep has read it.
        importance = self.visit_weight(self.visit_reader(visits)[0])
        importance = importance.masked_fill((rows == PAD).unsqueeze(-1), -torch.inf)
        alpha = importance.softmax(dim=1)
        beta = torch.tanh(self.code_weight(self.code_reader(visits)[0]))
        return self.score(self.dropout((alpha * beta * visits).sum(dim=1)))

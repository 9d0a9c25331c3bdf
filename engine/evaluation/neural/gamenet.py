"""GAMENet (Shang et al., AAAI 2019, arXiv 1809.01852), a graph-augmented memory network.

As in the paper (section 3): two recurrent networks, over diagnoses and over procedures, give the
query q of every visit. A memory bank holds one vector per medication group, from graph
convolutions over which groups are prescribed together and, when pairs are given, over which
interact: M = Z(together) − λ Z(interact) with Z = Ã tanh(Ã W) V. A dynamic memory holds the
queries of the earlier visits as keys and their prescriptions as values. The bank is read by
content, M' softmax(M q); the history by likeness of visits, M' (values' softmax(keys q)); the
answer is a feed-forward network on the query and both readings.

Not as in the paper: an edge weighs by how much two groups go together more than by chance, where
the paper counts any prescription of both: of our groups, some twenty a visit, nearly every pair
has met, and the convolution made all of them alike. Our label set; binary cross-entropy only,
without the margin loss and the loss on interactions; GRUs; our shared training. Earlier visits
beyond the latest eight are not read.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import nn

from engine.evaluation.neural.inputs import CodeSum, multi_hot, of_visits, oldest_first
from engine.evaluation.neural.training import NeuralBaseline, Settings
from engine.records.labels import label_matrix
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary
from engine.student.tensors import PAD, Batch


class GameNet(NeuralBaseline):
    """GAMENet; without `interactions` its memory bank knows the prescriptions alone."""

    name = "GAMENet"

    def __init__(
        self, interactions: Iterable[Iterable[str]] = (), settings: Settings | None = None
    ) -> None:
        """`interactions` are pairs of medication groups, such as the keys of
        `engine.terminology.interactions.group_pairs()`; those outside the vocabulary are left out.
        """
        super().__init__(settings)
        self.interactions = tuple(interactions)

    def build(self, vocabulary: Vocabulary, train: Sequence[Visit]) -> nn.Module:
        """Return the untrained network, its graph from the training visits."""
        graphs = [prescribed_together(train, vocabulary)]
        if self.interactions:
            graphs.append(interacting(self.interactions, vocabulary))
        return GameNetwork(vocabulary, graphs, self.settings)


class GameNetwork(nn.Module):
    """Codes of all visits in, one logit per medication group out."""

    def __init__(
        self, vocabulary: Vocabulary, graphs: Sequence[np.ndarray], settings: Settings
    ) -> None:
        """`graphs` are (L, L): how closely prescribed together, and interacting where known."""
        super().__init__()
        size, groups = settings.size, len(vocabulary.medications)
        self.groups = groups
        self.diagnoses = CodeSum(len(vocabulary.diagnoses), size)
        self.procedures = CodeSum(len(vocabulary.procedures), size)
        self.diagnosis_reader = nn.GRU(size, size, batch_first=True)
        self.procedure_reader = nn.GRU(size, size, batch_first=True)
        self.query = nn.Sequential(nn.ReLU(), nn.Linear(2 * size, size))
        self.together = GraphConvolution(graphs[0], size, settings.dropout)
        self.interacting = (
            GraphConvolution(graphs[1], size, settings.dropout) if len(graphs) > 1 else None
        )
        if self.interacting:
            self.interaction_share = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout(settings.dropout)
        self.answer = nn.Sequential(nn.ReLU(), nn.Linear(3 * size, 2 * size), nn.ReLU())
        self.score = nn.Linear(2 * size, groups)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Map a batch without answers to logits (visits, groups)."""
        rows = oldest_first(batch.visit_rows)
        queries = self._queries(batch, rows)
        present = (rows != PAD).sum(dim=1) - 1
        query = queries[torch.arange(len(rows), device=rows.device), present]
        bank = self.together()
        if self.interacting:
            bank = bank - self.interaction_share * self.interacting()
        by_content = (query @ bank.T).softmax(dim=1) @ bank
        by_history = self._recall(batch, rows, queries, query, present) @ bank
        return self.score(self.answer(torch.cat([query, by_content, by_history], dim=1)))

    def _queries(self, batch: Batch, rows: torch.Tensor) -> torch.Tensor:
        """Return the query (visits, time, size) at every visit, knowing it and those before."""
        diagnoses = self.dropout(of_visits(self.diagnoses(batch.diagnoses), rows))
        procedures = self.dropout(of_visits(self.procedures(batch.procedures), rows))
        read = [self.diagnosis_reader(diagnoses)[0], self.procedure_reader(procedures)[0]]
        return self.query(torch.cat(read, dim=2))

    def _recall(
        self,
        batch: Batch,
        rows: torch.Tensor,
        queries: torch.Tensor,
        query: torch.Tensor,
        present: torch.Tensor,
    ) -> torch.Tensor:
        """Return the earlier prescriptions (visits, groups), weighted by likeness to this visit.

        A first visit remembers nothing: zeros.
        """
        past = torch.arange(rows.shape[1], device=rows.device) < present.unsqueeze(1)
        likeness = torch.einsum("vts,vs->vt", queries, query)
        weights = likeness.masked_fill(~past, torch.finfo(likeness.dtype).min).softmax(dim=1) * past
        values = of_visits(multi_hot(batch.medications, self.groups), rows)
        return torch.einsum("vt,vtg->vg", weights, values)


class GraphConvolution(nn.Module):
    """Two convolutions over a fixed graph of the groups (Kipf and Welling, 2017, section 2)."""

    def __init__(self, graph: np.ndarray, size: int, dropout: float) -> None:
        """`graph` is (L, L), symmetric, the weight of each edge; loops of 1 are added."""
        super().__init__()
        linked = torch.from_numpy(graph).float() + torch.eye(len(graph))
        scale = linked.sum(dim=1).rsqrt()
        self.register_buffer("graph", scale.unsqueeze(1) * linked * scale)
        # Of size 1, as averaging over neighbours shrinks them again.
        self.nodes = nn.Parameter(torch.randn(len(graph), size))
        self.output = nn.Linear(size, size, bias=False)
        nn.init.normal_(self.output.weight, std=size**-0.5)
        self.dropout = nn.Dropout(dropout)

    def forward(self) -> torch.Tensor:
        """Return a vector for every group, (L, size)."""
        return self.output(self.graph @ self.dropout(torch.tanh(self.graph @ self.nodes)))


def prescribed_together(visits: Sequence[Visit], vocabulary: Vocabulary) -> np.ndarray:
    """Return how closely groups go together in these visits, float32 (L, L), 0 to itself.

    From 0, not more than by chance, to 1, never apart: the normalised pointwise mutual
    information ln(p(a, b) / p(a) p(b)) / −ln p(a, b) (Bouma, 2009), where it is positive.
    """
    given = label_matrix(visits, vocabulary)[0].astype(float)
    together = given.T @ given / len(visits)
    alone = together.diagonal()
    by_chance = np.outer(alone, alone)
    more = (together > by_chance) & ~np.eye(len(alone), dtype=bool)
    graph = np.zeros(together.shape, dtype=np.float32)
    graph[more] = np.log(together[more] / by_chance[more]) / -np.log(together[more])
    return graph


def interacting(pairs: Iterable[Iterable[str]], vocabulary: Vocabulary) -> np.ndarray:
    """Return 1 for groups of the vocabulary that interact, float32 (L, L) and symmetric."""
    graph = np.zeros((len(vocabulary.medications),) * 2, dtype=np.float32)
    for pair in pairs:
        one, other = map(vocabulary.medication_index, pair)
        if one is not None and other is not None:
            graph[one, other] = graph[other, one] = 1
    return graph

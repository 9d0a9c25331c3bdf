"""What the neural baselines share: one training loop, one interface, one way to a selection.

    model = Retain().fit(train, validation, vocabulary, seed=0)
    probability, selection = model.predict(visits)

The same for all of them, so that they differ in their network only: every visit is a sample,
binary cross-entropy is the whole loss, AdamW with a warm-up and a cosine, the head starts at each
group's log-odds, the state with the best PRAUC on validation is kept, and the threshold has the
highest Jaccard there. On a CPU the same seed gives the same model.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit
from torch import nn
from torch.nn import functional
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

from engine.evaluation.baselines import Prediction, require_visits
from engine.evaluation.calibration import best_threshold
from engine.evaluation.metrics import average_precision
from engine.evaluation.neural.inputs import without_answers
from engine.records.labels import label_matrix
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary
from engine.student.tensors import Encoded, collate, encode

POOL = 16  # batches that are shuffled together before their visits are sorted by length


@dataclass(frozen=True)
class Settings:
    """Size and training of a neural baseline; no recipe, since the rivals stay the same."""

    size: int = 64  # of embeddings and hidden states
    dropout: float = 0.3
    max_history: int = 8  # latest earlier visits kept, as for the student
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    batch_size: int = 32
    epochs: int = 30
    patience: int = 5  # epochs without a better PRAUC before stopping


class NeuralBaseline(ABC):
    """A network over packed visits, trained and asked like every other baseline.

    A subclass gives `name`, `profile` (the profile fields its network reads) and `build`. Its
    network maps a `Batch` without answers to logits (visits, groups) and ends in `score`, a
    linear layer.
    """

    name: str
    profile: tuple[str, ...] = ()

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    @abstractmethod
    def build(self, vocabulary: Vocabulary, train: Sequence[Visit]) -> nn.Module:
        """Return the untrained network; `train` is for statistics of the training visits."""

    def fit(
        self, train: list[Visit], validation: list[Visit], vocabulary: Vocabulary, seed: int = 0
    ) -> "NeuralBaseline":
        """Train, keep the best state and choose the threshold.

        Leaves torch's own random numbers as they were. Raises WorkbenchError on an empty part.
        """
        require_visits(train, validation)
        self.vocabulary = vocabulary
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        truth, missing = label_matrix(validation, vocabulary)
        training, held_out = self._encode(train), self._encode(validation)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = self.build(vocabulary, train).to(self._device)
            _start_at(self.network.score, label_matrix(train, vocabulary)[0])
            self._train(training, held_out, truth, missing)
        self.threshold = best_threshold(self._probability(held_out), truth, missing)
        return self

    def predict(self, visits: list[Visit]) -> Prediction:
        """Return probability (N, L) and selection (N, L)."""
        probability = self._probability(self._encode(visits))
        return probability, probability >= self.threshold

    @property
    def parameters(self) -> int:
        """The number of trained numbers in the network."""
        return sum(part.numel() for part in self.network.parameters() if part.requires_grad)

    def _train(
        self,
        training: Sequence[Encoded],
        held_out: Sequence[Encoded],
        truth: np.ndarray,
        missing: np.ndarray,
    ) -> None:
        settings = self.settings
        optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        lengths = torch.tensor([_length(visit) for visit in training])
        steps = -(-len(training) // settings.batch_size) * settings.epochs
        schedule = get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
        best, best_state, waited = -1.0, None, 0
        bar = tqdm(range(settings.epochs), desc=self.name, unit="epoch", disable=None)
        for _ in bar:
            self.network.train()
            for rows in _batches(lengths, settings.batch_size):
                batch = self._batch([training[row] for row in rows.tolist()])
                logits = self.network(batch)
                loss = functional.binary_cross_entropy_with_logits(logits, batch.labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
            prauc = average_precision(truth, self._probability(held_out), missing).mean()
            bar.set_postfix(prauc=f"{prauc:.4f}")
            if prauc > best:
                best, waited = prauc, 0
                state = self.network.state_dict()
                best_state = {name: value.clone() for name, value in state.items()}
            else:
                waited += 1
                if waited >= settings.patience:
                    break
        self.network.load_state_dict(best_state)

    def _probability(self, encoded: Sequence[Encoded]) -> np.ndarray:
        """Return float (N, L), computed from short to long visits to keep the padding small."""
        logits = np.empty((len(encoded), len(self.vocabulary.medications)))
        order = np.argsort([_length(visit) for visit in encoded], kind="stable")
        self.network.eval()
        with torch.inference_mode():
            for start in range(0, len(order), self.settings.batch_size):
                rows = order[start : start + self.settings.batch_size]
                output = self.network(self._batch([encoded[row] for row in rows]))
                logits[rows] = output.cpu().numpy()
        return expit(logits)

    def _encode(self, visits: Sequence[Visit]) -> list[Encoded]:
        kept = self.settings.max_history
        return [encode(visit, self.vocabulary, kept, self.profile) for visit in visits]

    def _batch(self, encoded: Sequence[Encoded]):
        batch = collate(encoded, len(self.vocabulary.medications))
        return without_answers(batch).to(self._device)


def _start_at(score: nn.Linear, labels: np.ndarray) -> None:
    """Set the head's bias to each group's log-odds among the training visits."""
    given = torch.from_numpy(labels.sum(axis=0)).float()
    with torch.no_grad():
        score.bias.copy_(torch.log((given + 0.5) / (len(labels) - given + 0.5)))


def _batches(lengths: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Shuffle, put visits of like length together, and shuffle the batches."""
    pools = torch.randperm(len(lengths)).split(size * POOL)
    batches = [rows for pool in pools for rows in pool[lengths[pool].argsort()].split(size)]
    return [batches[number] for number in torch.randperm(len(batches))]


def _length(visit: Encoded) -> int:
    """Count the codes that a network reads: everything but the visit's own medications."""
    sets = (*visit.diagnoses, *visit.procedures, *visit.medications[:-1])
    return sum(len(codes) for codes in sets)

"""What a student learns from, and its batches."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from engine.config import Recipe
from engine.records.schema import Visit
from engine.records.vocabulary import UNKNOWN, Vocabulary
from engine.student.categories import Categories, parents
from engine.student.distillation import Targets
from engine.student.packed import Packed, Sets, pack
from engine.student.teacher_path import PathReader
from engine.student.title_embeddings import TitleReader
from engine.terminology.interactions import matrix

FORGOTTEN = 0.25  # of the hidden codes: their category too, so that "unknown" is still learnt

# a batch, the teacher's outputs or None, the number of labelled visits
Lesson = tuple[Packed, tuple[torch.Tensor, torch.Tensor] | None, int]


@dataclass(frozen=True)
class Lessons:
    """What a student learns from."""

    training: Sequence[Visit]  # labelled
    targets: Targets  # of the training visits, then of the unlabelled ones
    unlabelled: Sequence[Visit] = ()
    titles: TitleReader | None = None  # needed for `embeddings_from_teacher`
    path: PathReader | None = None  # needed for `linear_path_from_teacher`


class Classroom:
    """Lessons as batches: `batch_size` labelled visits, and their share of unlabelled ones."""

    def __init__(
        self,
        lessons: Lessons,
        vocabulary: Vocabulary,
        recipe: Recipe,
        categories: Categories | None,
        device: torch.device,
    ) -> None:
        """Lay all visits out once."""
        self.options, self.targets, self.device = recipe.student, lessons.targets, device
        self.groups = len(vocabulary.medications)
        self.labelled = len(lessons.training)
        self._reading = vocabulary, self.options.max_history, recipe.prompt.profile, categories
        unlabelled = lessons.unlabelled if self.options.unlabelled else ()
        without = (replace(visit, medications=()) for visit in unlabelled)  # nobody reads them
        self.packed = self.pack((*lessons.training, *without))
        self.batches = math.ceil(self.labelled / self.options.batch_size)
        self.parents = parents(vocabulary, categories)
        self.interacts = None
        if self.options.interaction_weight:
            self.interacts = torch.from_numpy(matrix(vocabulary.medications)).float().to(device)

    def pack(self, visits: Sequence[Visit]) -> Packed:
        """Lay visits out as the student reads them."""
        return pack(visits, *self._reading)

    def labels(self) -> torch.Tensor:
        """Return (training visits, groups) labels."""
        return self.packed.select(torch.arange(self.labelled)).labels(self.groups)

    def __iter__(self) -> Iterator[Lesson]:
        """Yield (batch, teacher's outputs or None, number of labelled visits) in random order."""
        size, copies = self.options.batch_size, self.options.unlabelled
        chosen = list(torch.randperm(self.labelled).split(size))
        if extra := len(self.packed) - self.labelled:
            more = (self.labelled + torch.randperm(extra)).split(size * copies)
            chosen = [torch.cat(rows) for rows in zip(chosen, more, strict=True)]
        for number, rows in enumerate(chosen):
            batch = self.packed.select(rows)
            batch = hide_codes(batch, self.options.unknown_rate, self.parents).to(self.device)
            teacher = None
            if self.options.distillation_weight or self.options.logit_weight:
                hidden, logits = self.targets.of(rows.tolist())
                teacher = hidden.to(self.device), logits.to(self.device)
            yield batch, teacher, min(size, self.labelled - number * size)


def hide_codes(batch: Packed, rate: float, read_as: tuple[torch.Tensor, torch.Tensor]) -> Packed:
    """Make some diagnoses and procedures unseen, so that what stands for those is learnt.

    `read_as` gives each entry's category, or 0, as `categories.parents` does.
    """

    def hide(sets: Sets, parents: torch.Tensor) -> Sets:
        codes = sets.entries
        above = parents[codes].masked_fill(torch.rand(codes.shape) < FORGOTTEN, UNKNOWN)
        hidden = torch.rand(codes.shape) < rate
        return replace(sets, entries=torch.where(hidden, above, codes))

    return replace(
        batch,
        diagnoses=hide(batch.diagnoses, read_as[0]),
        procedures=hide(batch.procedures, read_as[1]),
    )

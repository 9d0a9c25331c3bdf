"""Start the student's code embeddings from what the teacher makes of each code's title.

A title is the mean of the language model's own input embeddings of its tokens; principal
components over the titles of the vocabulary bring it to the student's width. Categories are the
mean of their codes' titles, so a code that no training patient had begins near its relatives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from engine.prompts import Title
from engine.records.vocabulary import Vocabulary
from engine.student.categories import members
from engine.student.model import SetEncoder, Student
from engine.terminology.icd import Kind

CODES_A_CATEGORY = 40  # titles read of each category, evenly spread over its codes


@dataclass(frozen=True)
class TitleReader:
    """The teacher's tokenizer and input embeddings, (tokens, width) float32, and the titles."""

    tokenizer: PreTrainedTokenizerBase
    embeddings: torch.Tensor
    title: Title

    def read(self, kind: Kind, codes: Sequence[str]) -> torch.Tensor:
        """Return (codes, width): the mean embedding of the tokens of each code's title."""
        if not codes:
            return self.embeddings.new_zeros(0, self.embeddings.shape[1])
        titles = [self.title(kind, code) for code in codes]
        ids = self.tokenizer(titles, add_special_tokens=False)["input_ids"]
        lengths = torch.tensor([max(1, len(row)) for row in ids])
        flat = torch.tensor([token for row in ids for token in row], dtype=torch.long)
        offsets = torch.tensor([0, *map(len, ids[:-1])]).cumsum(0)
        sums = torch.nn.functional.embedding_bag(flat, self.embeddings, offsets, mode="sum")
        return sums / lengths.unsqueeze(1)


def start_from_titles(student: Student, vocabulary: Vocabulary, reader: TitleReader) -> None:
    """Set the code embeddings of a student with categories; deterministic.

    The unknown entry starts at 0, which is the mean title.
    """
    size = student.diagnosis_encoder.embedding.embedding_dim
    diagnoses = reader.read("diagnosis", vocabulary.diagnoses)
    procedures = reader.read("procedure", vocabulary.procedures)
    mean, components = _principal_components(torch.cat([diagnoses, procedures]), size)
    parts: list[tuple[SetEncoder, Kind, Sequence[str], torch.Tensor, Sequence[str]]] = [
        (
            student.diagnosis_encoder,
            "diagnosis",
            vocabulary.diagnoses,
            diagnoses,
            student.categories.diagnoses,
        ),
        (
            student.procedure_encoder,
            "procedure",
            vocabulary.procedures,
            procedures,
            student.categories.procedures,
        ),
    ]
    scale = size**-0.5 / ((torch.cat([diagnoses, procedures]) - mean) @ components).std()
    for encoder, kind, codes, titles, categories in parts:
        rows = torch.cat([titles, _category_titles(reader, kind, codes, categories)])
        rows = (rows - mean) @ components * scale
        with torch.no_grad():
            encoder.embedding.weight[0] = 0.0
            encoder.embedding.weight[1:] = rows.to(encoder.embedding.weight.device)


def _category_titles(
    reader: TitleReader, kind: Kind, codes: Sequence[str], categories: Sequence[str]
) -> torch.Tensor:
    """Return (categories, width) mean titles."""
    of = members(kind, codes)
    chosen = [of[name][:: -(-len(of[name]) // CODES_A_CATEGORY)] for name in categories]
    titles = reader.read(kind, [code for some in chosen for code in some])
    sizes = [len(some) for some in chosen]
    return torch.stack([part.mean(dim=0) for part in titles.split(sizes)]) if sizes else titles


def _principal_components(titles: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean (width,) and the `size` leading directions (width, size) of (n, width)."""
    mean = titles.mean(dim=0)
    directions = torch.linalg.svd(titles - mean, full_matrices=False).Vh[:size]
    largest = directions.abs().argmax(dim=1, keepdim=True)
    directions = directions * directions.gather(1, largest).sign()  # else either sign would do
    return mean, torch.nn.functional.pad(directions, (0, 0, 0, size - len(directions))).T

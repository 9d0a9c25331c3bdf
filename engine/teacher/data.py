"""Prompts and labels as the teacher trains on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from engine.config import PromptRecipe
from engine.prompts import Prompt, Title, render
from engine.records.labels import label_matrix
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary

ENTRIES, ENTRY_LENGTH = 2**14, 120  # remembered by the counter, and their longest in characters
PAD_TO = 8  # padded lengths are multiples of this, which matrix units like


@dataclass(frozen=True)
class Examples(Dataset):
    """Tokenised prompts with multi-label targets, one a visit."""

    input_ids: tuple[tuple[int, ...], ...]
    labels: torch.Tensor  # (visits, groups) float32, 1 where given

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, index: int) -> dict:
        return {"input_ids": list(self.input_ids[index]), "labels": self.labels[index]}


@lru_cache(maxsize=4)
def token_counter(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], int]:
    """Return the function the prompt budget is counted with.

    The entries of a prompt's lists come back in other prompts; each is counted once.
    """

    def count(text: str) -> int:
        return len(tokenizer(text)["input_ids"])

    count_entry = lru_cache(maxsize=ENTRIES)(count)
    return lambda text: count_entry(text) if len(text) <= ENTRY_LENGTH else count(text)


def prompt_of(
    visit: Visit, title: Title, tokenizer: PreTrainedTokenizerBase, options: PromptRecipe
) -> Prompt:
    """Render the prompt of a visit exactly as the teacher reads it."""
    return render(visit, title, token_counter(tokenizer), options)


def build_examples(
    visits: Sequence[Visit],
    title: Title,
    tokenizer: PreTrainedTokenizerBase,
    options: PromptRecipe,
    vocabulary: Vocabulary,
) -> Examples:
    """Tokenise the prompts of `visits` and gather their targets."""
    texts = [prompt_of(visit, title, tokenizer, options).text for visit in visits]
    ids = tokenizer(texts)["input_ids"] if texts else []
    truth, _ = label_matrix(visits, vocabulary)
    return Examples(tuple(tuple(row) for row in ids), torch.from_numpy(truth.astype("float32")))


@dataclass(frozen=True)
class Collator:
    """Pads a batch on the right to its own longest prompt."""

    pad_id: int

    def __call__(self, batch: Sequence[dict]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in batch)
        width = -(-longest // PAD_TO) * PAD_TO
        input_ids = torch.full((len(batch), width), self.pad_id)
        attention_mask = torch.zeros((len(batch), width), dtype=torch.long)
        for row, example in enumerate(batch):
            length = len(example["input_ids"])
            input_ids[row, :length] = torch.tensor(example["input_ids"])
            attention_mask[row, :length] = 1
        padded = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "labels" in batch[0]:
            padded["labels"] = torch.stack([example["labels"] for example in batch])
        return padded


def last_token(values: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Pick (prompts, size) at each prompt's last token from (prompts, length, size)."""
    last = attention_mask.sum(dim=1) - 1
    return values[torch.arange(len(values), device=values.device), last]

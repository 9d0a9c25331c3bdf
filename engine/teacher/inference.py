"""Score prompts with a trained teacher.

    logits, hidden = teacher.predict(texts)    many prompts, in batches of similar length
    logits, hidden = teacher.score(text)       one prompt; only what changed since the last one

Only what stands for the whole prompt goes through the head. A causal model's tokens never see the
padding behind them, so no mask is needed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engine.config import PromptRecipe, Recipe, TeacherRecipe
from engine.prompts import Prompt, Title
from engine.records.schema import Visit
from engine.teacher import model as teacher_model
from engine.teacher import preparation
from engine.teacher.base_model import load_tokenizer
from engine.teacher.data import PAD_TO, Collator, prompt_of
from engine.teacher.fused_llama import FusedLlama, fused
from engine.teacher.linear_path import FILE as LINEAR_PATH
from engine.teacher.linear_path import LinearPath, as_text
from engine.teacher.linear_path import together as mean_of
from engine.teacher.lower_layers import Kept, skipped, together
from engine.teacher.precision import faster
from engine.teacher.prefix import PrefixCache

BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536}  # of one forward pass, padding included
SHORTER = 1 / 8  # a batch holds prompts at most this much shorter than its longest


class Reader:
    """A classification network that scores tokenised prompts; sessions may share it."""

    def __init__(
        self, model: PreTrainedModel, pad_id: int, precision: str, device: torch.device
    ) -> None:
        """`precision` is "fp32" or "bf16", of the matrix products; the head's are always fp32."""
        self.precision = precision
        self.device = device
        if precision == "bf16":
            teacher_model.round_once(body_of(model))
        self.model = model.to(device)
        self.head = teacher_model.head_of(self.model)
        self.batch_tokens = BATCH_TOKENS[device.type]
        self.collator = Collator(pad_id)
        body = body_of(self.model)
        self.body = fused(body) if device.type == "cpu" else body
        self.prefixes = PrefixCache(self.body)
        self._one_at_a_time = Lock()

    def read(
        self, ids: Sequence[Sequence[int]], kept: Kept | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score one batch of prompts.

        Args:
            kept: what the lower layers put out for these prompts; they are not run again.

        Returns:
            logits (prompts, groups) and hidden states (prompts, width), both float32; the hidden
            state is the last layer's vector at the last prompt token, with the mean over the
            prompt behind it where the recipe's pooling says so.
        """
        batch = self.collator([{"input_ids": row} for row in ids])["input_ids"].to(self.device)
        with self._reading():
            if kept is None:
                states = self.body(input_ids=batch, use_cache=False).last_hidden_state
            else:
                lower = together([kept.of(row) for row in ids], batch.shape[1]).to(self.device)
                states = self._above(batch, kept.below, lower)
            return self._answer(states, [len(row) for row in ids])

    def _above(self, batch: torch.Tensor, below: int, lower: torch.Tensor) -> torch.Tensor:
        """Return the last layer's output, starting from that of the lowest `below` layers."""
        if isinstance(self.body, FusedLlama):
            output = self.body(input_ids=batch, below=below, lower_output=lower)
        else:
            with skipped(self.body, below, lower):
                output = self.body(input_ids=batch, use_cache=False)
        return output.last_hidden_state

    def read_one(self, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Score one prompt; tokens it shares with the start of a recent one are not run again.

        Returns:
            logits (groups,) and hidden state (width,), as `read` gives them: within 1e-5 in fp32;
            in bf16 the two round differently (`PrefixCache`).
        """
        with self._reading():
            states = self.prefixes.read(ids).unsqueeze(0)
            logits, hidden = self._answer(states, [len(ids)])
        return logits[0], hidden[0]

    def empty(self, prompts: int) -> tuple[np.ndarray, np.ndarray]:
        """Return arrays for the logits and hidden states of so many prompts, to be filled."""
        groups, width = self.head.linear.weight.shape
        return np.empty((prompts, groups), np.float32), np.empty((prompts, width), np.float32)

    def _answer(
        self, states: torch.Tensor, lengths: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what the head says to (prompts, length, hidden_size) states, and what it saw."""
        last = torch.tensor(lengths, device=self.device) - 1
        hidden = self.head.pool(states)[torch.arange(len(last), device=self.device), last]
        logits = self.head.score(hidden)
        return logits.float().cpu().numpy(), hidden.float().cpu().numpy()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        bf16 = self.precision == "bf16"
        with (
            self._one_at_a_time,
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=bf16),
        ):
            yield


class Teacher(Reader):
    """A trained teacher, ready to read visits."""

    def __init__(
        self,
        recipe: TeacherRecipe,
        adapter: Path,
        groups: int,
        options: PromptRecipe,
        prepared: Path | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        """Load the weights; and the base model's tokenizer, unless the caller has it already."""
        self.options = options
        self.tokenizer = load_tokenizer(recipe.base_model) if tokenizer is None else tokenizer
        pad_id = self.tokenizer.pad_token_id
        model = teacher_model.load(recipe, adapter, groups, pad_id, prepared)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        super().__init__(model, pad_id, faster(recipe.precision, device), device)
        self.linear_path = None
        if recipe.linear_path:
            self.linear_path = LinearPath.load(adapter / LINEAR_PATH, groups)

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        adapter: Path,
        groups: int,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> "Teacher":
        """Open the teacher a recipe trained; its preparation, if any, lies beside `adapter`."""
        options = recipe.teacher
        prepared = adapter.parent / preparation.FOLDER if options.preparation else None
        return cls(options, adapter, groups, recipe.prompt, prepared, tokenizer)

    def read(
        self, ids: Sequence[Sequence[int]], kept: Kept | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score one batch of prompts; with a linear path, logits are its and the network's mean."""
        logits, hidden = super().read(ids, kept)
        return self._with_linear_path(logits, ids), hidden

    def read_one(self, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Score one prompt as `read` does; what it shares with recent ones is not run again."""
        logits, hidden = super().read_one(ids)
        return self._with_linear_path(logits[None], [ids])[0], hidden

    def _with_linear_path(self, logits: np.ndarray, ids: Sequence[Sequence[int]]) -> np.ndarray:
        if self.linear_path is None:
            return logits
        return mean_of(logits, self.linear_path.logits(as_text(self.tokenizer, ids)))

    def prompt(self, visit: Visit, title: Title) -> Prompt:
        """Return the prompt of a visit."""
        return prompt_of(visit, title, self.tokenizer, self.options)

    def token_ids(self, text: str) -> list[int]:
        """Return a prompt as the network reads it."""
        return self.tokenizer(text)["input_ids"]

    def score(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Score one prompt as `read_one` does."""
        return self.read_one(self.token_ids(text))

    def predict(
        self, texts: Sequence[str], progress: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score prompts in any order; returns what `read` returns.

        `progress` is the label of a progress bar, or None for silence.
        """
        ids = [self.token_ids(text) for text in texts]
        logits, hidden = self.empty(len(ids))
        with tqdm(total=len(ids), desc=progress, unit="prompt", disable=progress is None) as bar:
            for rows in by_length([len(row) for row in ids], self.batch_tokens):
                logits[rows], hidden[rows] = self.read([ids[row] for row in rows])
                bar.update(len(rows))
        return logits, hidden


def body_of(model: PreTrainedModel) -> nn.Module:
    """Return the language model under a classification head."""
    return getattr(model, model.base_model_prefix)


def by_length(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Give the rows of `lengths` in batches of similar length, the longest first.

    A batch holds at most `tokens`, padding included (or one prompt), and at most an eighth of it
    is padding. The longest come first: what does not fit into memory fails at once.
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch:
            width = -(-lengths[batch[0]] // PAD_TO) * PAD_TO
            if (len(batch) + 1) * width > tokens or lengths[row] < width * (1 - SHORTER) - PAD_TO:
                yield batch
                batch = []
        batch.append(row)
    if batch:
        yield batch

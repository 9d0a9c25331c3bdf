"""Score prompts with a trained teacher."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from tqdm import tqdm

from engine.config import PromptRecipe, Recipe, TeacherRecipe
from engine.prompts import Prompt, Title
from engine.records.schema import Visit
from engine.teacher import model as teacher_model
from engine.teacher import preparation
from engine.teacher.base_model import load_tokenizer
from engine.teacher.data import Collator, last_token, prompt_of


class Teacher:
    """A trained teacher, ready to read visits."""

    def __init__(
        self,
        recipe: TeacherRecipe,
        adapter: Path,
        groups: int,
        options: PromptRecipe,
        prepared: Path | None = None,
    ) -> None:
        self.options = options
        self.precision = recipe.precision
        self.tokenizer = load_tokenizer(recipe.base_model)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        pad_id = self.tokenizer.pad_token_id
        model = teacher_model.load(recipe, adapter, groups, pad_id, prepared)
        self.model = model.to(self.device)
        self.collator = Collator(pad_id)
        self._one_at_a_time = Lock()  # sessions of the app share this model

    @classmethod
    def of(cls, recipe: Recipe, adapter: Path, groups: int) -> "Teacher":
        """Open the teacher a recipe trained; its preparation, if any, lies beside `adapter`."""
        options = recipe.teacher
        prepared = adapter.parent / preparation.FOLDER if options.preparation else None
        return cls(options, adapter, groups, recipe.prompt, prepared)

    def prompt(self, visit: Visit, title: Title) -> Prompt:
        """Return the prompt of a visit."""
        return prompt_of(visit, title, self.tokenizer, self.options)

    def predict(
        self, texts: Sequence[str], batch_size: int = 8, progress: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score prompts.

        Args:
            texts: prompts, in any order; they are batched by length.
            progress: label of a progress bar, or None for silence.

        Returns:
            logits (prompts, groups) and hidden states (prompts, width), both float32; the hidden
            state is the last layer's vector at the last prompt token, with the mean over the
            prompt behind it where the recipe's pooling says so.
        """
        ids = [self.tokenizer(text)["input_ids"] for text in texts]
        order = sorted(range(len(ids)), key=lambda index: -len(ids[index]))
        logits = hidden = None
        bar = tqdm(total=len(ids), desc=progress, unit="prompt", disable=progress is None)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self.collator([{"input_ids": ids[row]} for row in rows])
            batch_logits, batch_hidden = self._forward(batch)
            if logits is None:
                logits = np.empty((len(ids), batch_logits.shape[1]), np.float32)
                hidden = np.empty((len(ids), batch_hidden.shape[1]), np.float32)
            logits[rows], hidden[rows] = batch_logits, batch_hidden
            bar.update(len(rows))
        bar.close()
        return logits, hidden

    @torch.inference_mode()
    def _forward(self, batch: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
        batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
        with (
            self._one_at_a_time,
            teacher_model.head_input(self.model) as seen,
            torch.autocast(
                self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
            ),
        ):
            logits = self.model(**batch).logits
        hidden = last_token(seen[0], batch["attention_mask"])
        return logits.float().cpu().numpy(), hidden.float().cpu().numpy()

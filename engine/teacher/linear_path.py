"""The teacher's linear path: what each phrase of a prompt says for each group by itself.

    path = LinearPath.fit(prompts, labels)
    logits = together(language_model_logits, path.logits(prompts))

A language model has to squeeze thirty drugs and twenty diagnoses through one vector; a logistic
regression over the same prompt does not, but knows no context and no word it has not met. Their
mean is better than either. This is the wide part of a wide-and-deep model (Cheng et al. 2016, arXiv
1606.07792, section 3.1), fitted by itself, so that each part can be judged by itself.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.sparse import csr_matrix
from transformers import PreTrainedTokenizerBase

from engine.errors import WorkbenchError
from engine.logistic import fit_change, fit_logistic

FILE = "linear_path.safetensors"
STRENGTH = 0.03  # C of the logistic regressions, as scikit-learn names it
STRENGTH_OF_CHANGE = 0.1  # the same for `adapted`: how far another hospital may move a weight
MINIMUM_PROMPTS = 2  # a phrase of a single training prompt says nothing about another one
WORD = re.compile(r"[^\W\d_]{3,}")
OWN_WORDS = "This visit"  # the part of the prompt whose words count beside whole phrases
# Where an entry stands: a part of the prompt and the beginning of a heading.
DIAGNOSIS, PROCEDURE = f"{OWN_WORDS} Diagnos", f"{OWN_WORDS} Procedu"
EARLIER_DIAGNOSIS, EARLIER_GROUP = "Earlier visit Diagnos", "Earlier visit Medicat"
PREVIOUS, EVER = " Given a", " Ever gi"


class LinearPath:
    """One logistic regression a medication group, over the phrases of a prompt."""

    def __init__(self, phrases: Sequence[str], weights: np.ndarray) -> None:
        """Take F phrases and weights (F + 1, groups) float16, the last row the intercepts."""
        self.columns = {phrase: column for column, phrase in enumerate(phrases)}
        self.stored = weights.astype(np.float16)
        self.weights = self.stored.astype(np.float32)  # as they are when read again

    @classmethod
    def fit(cls, prompts: Sequence[str], labels: np.ndarray) -> "LinearPath":
        """Learn from training prompts and their (prompts, groups) labels."""
        seen: dict[str, int] = {}
        for prompt in prompts:
            for phrase in phrases_of(prompt):
                seen[phrase] = seen.get(phrase, 0) + 1
        kept = sorted(phrase for phrase, count in seen.items() if count >= MINIMUM_PROMPTS)
        path = cls(kept, np.zeros((len(kept) + 1, labels.shape[1])))
        weights = fit_logistic(path._inputs(prompts), np.asarray(labels) > 0, STRENGTH)
        return cls(kept, weights)

    def adapted(self, prompts: Sequence[str], labels: np.ndarray) -> "LinearPath":
        """Return the path after the prompts and labels of another hospital."""
        inputs, targets = self._inputs(prompts), np.asarray(labels) > 0
        weights = fit_change(inputs, targets, STRENGTH_OF_CHANGE, self.weights.astype(float))
        return LinearPath(list(self.columns), weights)

    def logits(self, prompts: Sequence[str]) -> np.ndarray:
        """Return (prompts, groups) float32."""
        return self._inputs(prompts) @ self.weights[:-1] + self.weights[-1]

    def weights_of(self, where: str, entry: str) -> np.ndarray:
        """Return (groups,): what an entry of a list adds to the logits, by itself."""
        known = [self.columns[phrase] for phrase in _entry(where, entry) if phrase in self.columns]
        return self.weights[known].sum(axis=0)

    def save(self, file: Path) -> None:
        """Write weights, and the phrases in the header."""
        save_file({"weights": self.stored}, file, {"phrases": json.dumps(list(self.columns))})

    @classmethod
    def load(cls, file: Path, groups: int) -> "LinearPath":
        """Read what `save` wrote; WorkbenchError when it is damaged or of other groups."""
        try:
            with safe_open(str(file), framework="numpy") as stored:
                phrases = json.loads((stored.metadata() or {})["phrases"])
                weights = stored.get_tensor("weights")
        except (OSError, SafetensorError, KeyError, ValueError):
            raise WorkbenchError(f"{file}: missing or damaged; restore the pair's folder") from None
        if weights.shape != (len(phrases) + 1, groups):
            raise WorkbenchError(f"{file}: not of these medication groups; restore the folder")
        return cls(phrases, weights)

    def _inputs(self, prompts: Sequence[str]) -> csr_matrix:
        starts, found = [0], []
        for prompt in prompts:
            known = (self.columns.get(phrase) for phrase in phrases_of(prompt))
            found += [column for column in known if column is not None]
            starts.append(len(found))
        shape = (len(prompts), len(self.columns))
        return csr_matrix((np.ones(len(found), np.float32), found, starts), shape=shape)


def as_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[Sequence[int]]) -> list[str]:
    """Return tokenised prompts as the path reads them, in training as in use."""
    return tokenizer.batch_decode(ids, skip_special_tokens=True)


def together(language_model: np.ndarray, linear_path: np.ndarray) -> np.ndarray:
    """Return the mean of two models' logits: the geometric mean of the odds they give."""
    return ((language_model + linear_path) / 2).astype(np.float32)


def apart(both: np.ndarray, linear_path: np.ndarray) -> np.ndarray:
    """Return the language model's logits from those of `together` and the linear path's."""
    return (2 * both - linear_path).astype(np.float32)


def phrases_of(prompt: str) -> list[str]:
    """Return the distinct phrases of a prompt (`engine.prompts`), each with where it stands.

    Phrases are the entries of its lists and the statements about the patient; of the present
    visit's lists the words too, so that a rare title is known by its parts.
    """
    return list(dict.fromkeys(_phrases(prompt)))


def _phrases(prompt: str) -> Iterator[str]:
    part = ""
    for line in prompt.splitlines():
        heading, is_list, listed = line.partition(": ")
        if not is_list or ". " in heading:  # statements; the profile's bring colons of their own
            yield from line.rstrip(".").split(". ")
            if line.startswith(("Earlier visit", OWN_WORDS)):
                part = "Earlier visit" if line.startswith("Earlier") else OWN_WORDS
            continue
        where = f"{part} {heading[:7]}"  # alike for one and for several
        for entry in listed.rstrip(".").split("; "):
            yield from _entry(where, entry)
            if where == PREVIOUS:
                yield from _entry(EVER, entry)  # at the latest visit is ever, too


def _entry(where: str, entry: str) -> list[str]:
    """Return the phrase of a list's entry, and its words where they count."""
    words = WORD.findall(entry.lower()) if where.startswith(OWN_WORDS) else ()
    return [f"{where}: {entry}", *(f"{where} with {word}" for word in dict.fromkeys(words))]

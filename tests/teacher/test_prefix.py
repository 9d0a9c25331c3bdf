"""After an edit only the changed tail is read again, and the answer is that of a fresh run."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
)

from engine.records.cohort import Cohort
from engine.teacher.inference import Teacher, body_of
from engine.teacher.prefix import PrefixCache

SMALL = {"vocab_size": 100, "num_labels": 3, "pad_token_id": 1}
LLAMA = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
LLAMA |= {"num_attention_heads": 4, "num_key_value_heads": 2}
CONFIGURATIONS = {
    "llama": LlamaConfig(**SMALL, **LLAMA),
    "qwen2": Qwen2Config(**SMALL, **LLAMA),
    "gpt2": GPT2Config(**SMALL, n_embd=32, n_layer=3, n_head=4, bos_token_id=1, eos_token_id=1),
    "mistral, window beyond the prompt": MistralConfig(**SMALL, **LLAMA, sliding_window=64),
    "mistral, window within the prompt": MistralConfig(**SMALL, **LLAMA, sliding_window=8),
}
PROMPT = list(range(2, 42))
EDITS = {
    "tail": [*PROMPT[:30], 90, 91],
    "middle": [*PROMPT[:20], 95, *PROMPT[20:]],
    "shorter": PROMPT[:25],
    "longer": [*PROMPT, 7, 8, 9],
    "the same": PROMPT,
    "other from the start": [99, *PROMPT[1:]],
}


def body(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(CONFIGURATIONS[name]).eval()
    return body_of(model)


@pytest.fixture(scope="module")
def teacher(tiny_run, tiny_recipe, tiny_cohort) -> Teacher:
    groups = len(Cohort.open(tiny_cohort).vocabulary.medications)
    return Teacher(tiny_recipe.teacher, tiny_run / "teacher", groups, tiny_recipe.prompt)


@pytest.mark.parametrize("name", CONFIGURATIONS)
@torch.inference_mode()
def test_an_edit_gives_what_a_fresh_run_gives(name):
    """In any order of edits, for every kind of attention."""
    network = body(name)
    cache = PrefixCache(network)
    for edit in [*EDITS.values(), *reversed(EDITS.values())]:
        states = cache.read(edit)
        fresh = network(input_ids=torch.tensor([edit]), use_cache=False).last_hidden_state[0]
        torch.testing.assert_close(states, fresh, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_only_the_changed_tail_is_read():
    cache = PrefixCache(body("llama"))
    cache.read(PROMPT)
    for edit, tail in (("tail", 2), ("middle", 21), ("longer", 3), ("shorter", 1), ("the same", 0)):
        before = cache.read_tokens
        cache.read(EDITS[edit])
        assert cache.read_tokens - before == tail, edit


@torch.inference_mode()
def test_memory_stays_within_its_bound_and_the_latest_prompts_stay():
    cache = PrefixCache(body("llama"))
    cache.read(PROMPT)
    one = cache.bytes
    cache = PrefixCache(body("llama"), memory=3 * one)
    prompts = [[first, *PROMPT[1:]] for first in range(50, 60)]
    for prompt in prompts:
        cache.read(prompt)
        assert cache.bytes <= 3 * one
    read = cache.read_tokens
    for prompt in prompts[-3:]:
        cache.read(prompt)
    assert cache.read_tokens == read
    nothing = PrefixCache(body("llama"), memory=one - 1)
    nothing.read(PROMPT)
    assert nothing.bytes == 0


def test_scoring_one_prompt_is_predicting_it(teacher):
    start = "The patient is a woman aged 70. Diagnoses: "
    texts = [start + tail for tail in ("heart failure", "heart failure; gout", "gout", "")]
    logits, hidden = teacher.predict(texts)
    for row, text in enumerate(texts):
        one, state = teacher.score(text)
        np.testing.assert_allclose(one, logits[row], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state, hidden[row], rtol=1e-4, atol=1e-5)


def test_sessions_that_edit_at_the_same_time_do_not_disturb_each_other(teacher):
    texts = [f"patient {number % 3}: Diagnoses: {'gout; ' * (number % 7)}" for number in range(60)]
    expected = teacher.predict(texts)[0]
    with ThreadPoolExecutor(4) as sessions:
        answers = [logits for logits, _ in sessions.map(teacher.score, texts)]
    np.testing.assert_allclose(np.stack(answers), expected, rtol=1e-4, atol=1e-5)

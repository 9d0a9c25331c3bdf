"""How the cost grows: with a patient's history, a cohort, a prompt, and the base model.

    python -m bench growth [COHORT] [--json FILE]

Histories are made of other visits of the cohort; base models of other sizes are Llama shapes with
random weights, for their speed only. What the bars time is what the engine does, as in `bench
student`, `bench train-student` and `bench teacher`.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import LlamaConfig

from bench import machine, teacher, train_student
from bench.student import COHORT, cost, spread_visits, threads
from bench.teacher_network import PAD_ID, SHAPES, best_seconds, untrained
from engine.files import write_json
from engine.recommender import Recommender
from engine.records.schema import Visit
from engine.registry.pair import champion_folder
from engine.teacher.inference import Reader

EARLIER_VISITS = 1, 5, 20
TRAINING_VISITS = 500, 1_000, 2_000
TOKENS = 128, 256, 512
ONE_BY_ONE = 100  # visits asked alone for each length of history
BATCH_TOKENS = 4_096
ROUNDS = 2


def sizes() -> dict[str, LlamaConfig]:
    """Return the default base model's shape between a smaller and a larger one of its family."""
    default = next(iter(SHAPES.values()))
    shared = {"vocab_size": default.vocab_size, "tie_word_embeddings": True, "pad_token_id": PAD_ID}
    return {
        "57 M": LlamaConfig(
            hidden_size=384,
            intermediate_size=1_024,
            num_hidden_layers=24,
            num_attention_heads=6,
            num_key_value_heads=2,
            **shared,
        ),
        "135 M": default,
        "362 M": LlamaConfig(
            hidden_size=960,
            intermediate_size=2_560,
            num_hidden_layers=32,
            num_attention_heads=15,
            num_key_value_heads=5,
            **shared,
        ),
    }


def with_history(visits: Sequence[Visit], earlier: int) -> list[Visit]:
    """Return the visits, each with so many others as its history."""
    others = cycle([dataclasses.replace(visit, history=()) for visit in visits])
    return [dataclasses.replace(visit, history=tuple(islice(others, earlier))) for visit in visits]


def by_history(recommender: Recommender, visits: Sequence[Visit]) -> dict[int, float]:
    """Return the student's median milliseconds for one patient by the number of earlier visits."""
    found = {}
    for earlier in EARLIER_VISITS:
        asked = with_history(visits[:ONE_BY_ONE], earlier)
        calls = [partial(recommender.student_probabilities, [visit]) for visit in asked]
        found[earlier] = float(np.median([cost(call)[0] for call in calls])) * 1000
    return found


def by_cohort(recommender: Recommender, visits: list[Visit]) -> dict[int, float]:
    """Return the student's training rate, patients a second, by the number of training visits."""
    found = {}
    for count in TRAINING_VISITS:
        some = visits[:: max(1, len(visits) // count)][:count]
        measured = train_student.measure(recommender.pair.recipe, recommender.vocabulary, some, 1)
        found[len(some)] = measured["patients_per_second"]
    return found


def by_tokens(shape: LlamaConfig, device: torch.device) -> dict[int, dict[str, float]]:
    """Return milliseconds of one prompt and tokens a second of a batch by a prompt's tokens."""
    reader = Reader(untrained(shape, device, "bf16"), PAD_ID, "bf16", device)
    return {count: _reading(reader, shape, count) for count in TOKENS}


def by_size(shape: LlamaConfig, device: torch.device) -> dict[str, float]:
    """Return how fast a base model of this shape is read and, above cached layers, taught."""
    reader = Reader(untrained(shape, device, "bf16"), PAD_ID, "bf16", device)
    found = _reading(reader, shape, teacher.LENGTH)
    learnt = teacher.training(shape, device, 1)["tokens_per_second"]
    return found | {"training_tokens_per_second": learnt["lower layers cached"]}


def _reading(reader: Reader, shape: LlamaConfig, length: int) -> dict[str, float]:
    draw = partial(torch.randint, PAD_ID + 1, shape.vocab_size)
    batch = draw((max(1, BATCH_TOKENS // length), length)).tolist()
    alone = iter(draw((ROUNDS + 1, length)).tolist())
    ways = {"batch": lambda: reader.read(batch), "one": lambda: reader.read_one(next(alone))}
    seconds = best_seconds(ways, reader.device, ROUNDS)
    return {
        "one_prompt_ms": seconds["one"] * 1000,
        "tokens_per_second": len(batch) * length / seconds["batch"],
    }


def measure(recommender: Recommender, visits: list[Visit], shapes: dict[str, LlamaConfig]) -> dict:
    """Return every figure; the default shape's growth with a prompt is that of the second one."""
    device = torch.device("cpu")
    with threads(1):  # as `bench student` does
        student = {
            "history_ms": by_history(recommender, visits),
            "max_history": recommender.pair.recipe.student.max_history,
            "training_patients_per_second": by_cohort(recommender, visits),
        }
    bar = tqdm(shapes.items(), desc="base models", unit="model", disable=None)
    return {
        "student": student,
        "tokens": by_tokens(list(shapes.values())[len(shapes) // 2], device),
        "base_model": {name: by_size(shape, device) for name, shape in bar},
    }


def as_text(figures: dict) -> str:
    """Return the tables."""
    student = figures["student"]
    lines = [f"student, at most {student['max_history']} earlier visits are read"]
    for earlier, time in student["history_ms"].items():
        lines.append(f"  {earlier:>6,} earlier visits {time:>12.2f} ms")
    for count, rate in student["training_patients_per_second"].items():
        lines.append(f"  {count:>6,} training visits{rate:>12,.0f} patients/s")
    lines.append("teacher")
    for count, found in figures["tokens"].items():
        lines.append(
            f"  {count:>6,} tokens {found['one_prompt_ms']:>20,.0f} ms"
            f"{found['tokens_per_second']:>12,.0f} tokens/s in a batch"
        )
    for name, found in figures["base_model"].items():
        lines.append(
            f"  {name:>6} parameters {found['one_prompt_ms']:>16,.0f} ms"
            f"{found['tokens_per_second']:>12,.0f} tokens/s in a batch"
            f"{found['training_tokens_per_second']:>12,.0f} tokens/s in training"
        )
    return "\n".join(lines)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser("growth", help="time how the cost grows")
    parser.add_argument("cohort", nargs="?", type=Path, default=COHORT, metavar="COHORT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write."""
    facts = machine.facts()
    facts["versions"] |= {name: version(name) for name in ("torch", "transformers", "peft")}
    visits = spread_visits(arguments.cohort, max(TRAINING_VISITS))
    figures = measure(Recommender.load(champion_folder()), visits, sizes())
    print(f"{as_text(figures)}\n{machine.as_text(facts)}")
    if arguments.json:
        write_json(arguments.json, {"benchmark": "growth", **facts, **figures})
    return 0

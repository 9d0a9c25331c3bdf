"""How fast a cohort's hidden states are cached, against one long batch and against a plain way.

    python -m bench hidden-states [COHORT] [--prompts 192] [--json FILE]

The teacher in use reads some prompts, spread over the cohort, exactly as `train hidden-states`
does: rendered, tokenised, batched by length, written to disk. The long batch is prompts of the
whole token budget, all alike and without a gap; the plain way is one prompt at a time, padded to
that budget.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from bench import machine
from bench.teacher import plain
from engine.errors import WorkbenchError
from engine.files import write_json
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.registry.pair import ADAPTER, Pair, champion_folder, open_pair
from engine.teacher import hidden_states, lower_layers, preparation
from engine.teacher import model as teacher_model
from engine.teacher.data import PAD_TO, Examples
from engine.teacher.inference import Teacher, by_length

COHORT = Path("data/sample")
PLAIN_PROMPTS = 6  # enough: each costs the same
ROUNDS = 3  # of which the best counts
TARGET = 0.85  # of the long batch's tokens a second


def measure(pair: Pair, cohort: Cohort, prompts: int) -> dict:
    """Return the figures of caching `prompts` visits of a cohort with a pair's teacher."""
    visits, whole = _spread(cohort, prompts)
    adapter = pair.folder / ADAPTER
    teacher = Teacher.of(pair.recipe, adapter, len(pair.vocabulary.medications))
    start = time.perf_counter()
    ids = [row.tolist() for row in hidden_states.tokenised(teacher, visits, cohort.title)]
    rendering = time.perf_counter() - start
    tokens, budget = sum(map(len, ids)), pair.recipe.prompt.max_tokens
    long = [(ids[0] * budget)[:budget]] * max(1, teacher.batch_tokens // budget)
    teacher.read(long)  # the first call of a process is slow
    long_rates, rates, above = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        again = _above_kept(pair, teacher, ids, Path(scratch))
        for number in range(ROUNDS):  # in turns: a moment when the machine is busy hits all
            folder = Path(scratch) / str(number)

            def cache(place: Path = folder, **options) -> None:
                hidden_states.compute(teacher, adapter, visits, cohort.title, place, **options)

            long_rates.append(_rate(lambda: teacher.read(long), len(long) * budget))
            rates.append(_rate(cache, tokens))
            if again:
                above.append(_rate(lambda: cache(kept=again), tokens))
    long_rate, rate = max(long_rates), max(rates)
    plain_rate = _plain_rate(pair, teacher, ids[:: max(1, len(ids) // PLAIN_PROMPTS)], budget)
    return {
        "version": pair.versions["teacher"],
        "prompts": len(visits),
        "tokens": tokens,
        "padding_share": _padded(teacher, ids) / tokens - 1,
        "rendering_ms_each": rendering / len(visits) * 1000,
        "tokens_per_second": {
            "cache": rate,
            "one long batch": long_rate,
            "plain": plain_rate,
        }
        | ({"cache, lower layers kept by the training": max(above)} if above else {}),
        "whole_cohort": {"visits": whole, "hours": tokens / rate / len(visits) * whole / 3600},
        "ratios": {
            "cache, share of one long batch": rate / long_rate,
            "cache against plain": rate / plain_rate,
        },
        "target": TARGET,
    }


def as_text(figures: dict) -> str:
    """Return the table."""
    ratios, cohort = figures["ratios"], figures["whole_cohort"]
    share = ratios["cache, share of one long batch"]
    rendering = figures["rendering_ms_each"]
    lines = [f"{figures['prompts']} prompts, {figures['tokens']:,} tokens; {figures['version']}"]
    for way, rate in figures["tokens_per_second"].items():
        lines.append(f"  {way:<48}{rate:>10,.0f} tokens/s")
    lines += [
        f"  {'padding, share of the tokens':<48}{figures['padding_share']:>10.1%}",
        f"  {'rendering a prompt into tokens, part of it':<48}{rendering:>10.1f} ms",
        f"  {'cache, share of one long batch':<48}{share:>10.0%}"
        f" (target {TARGET:.0%}: {'met' if share >= TARGET else 'NOT MET'})",
        f"  {'cache against plain':<48}{ratios['cache against plain']:>10.1f} times",
        f"  {'the whole cohort, at this rate':<48}{cohort['hours']:>10.2f} hours"
        f" ({cohort['visits']:,} visits)",
    ]
    return "\n".join(lines)


def _spread(cohort: Cohort, prompts: int) -> tuple[list[Visit], int]:
    """Return so many labelled visits, evenly spread over the cohort, and how many there are."""
    visits = cohort.samples()
    return visits[:: max(1, len(visits) // prompts)][:prompts], len(visits)


def _rate(call, tokens: int) -> float:
    start = time.perf_counter()
    call()
    return tokens / (time.perf_counter() - start)


def _padded(teacher: Teacher, ids: Sequence[Sequence[int]]) -> int:
    """Return how many tokens the batches hold, padding included."""
    lengths = [len(row) for row in ids]
    return sum(
        len(rows) * -(-max(lengths[row] for row in rows) // PAD_TO) * PAD_TO
        for rows in by_length(lengths, teacher.batch_tokens)
    )


def _above_kept(
    pair: Pair, teacher: Teacher, ids: Sequence[list[int]], folder: Path
) -> lower_layers.Kept | None:
    """Make what a training keeps of the lower layers for these prompts, if the recipe says so."""
    options = pair.recipe.teacher
    if not options.cache_lower_layers:
        return None
    below = teacher.model.config.num_hidden_layers - options.adapted_layers
    made = folder / "lower_layers"
    made.mkdir()
    examples = Examples(tuple(map(tuple, ids)), torch.zeros(len(ids), 1))
    bf16 = options.precision == "bf16"
    lower_layers.compute(teacher.model, below, examples, made / "all", options.batch_size, bf16)
    return lower_layers.kept(teacher.model, below, made, bf16)


def _plain_rate(pair: Pair, teacher: Teacher, ids: Sequence[list[int]], budget: int) -> float:
    """Return real tokens a second, one prompt at a time at full length, weights cast each time."""
    recipe = pair.recipe.teacher
    prepared = pair.folder / preparation.FOLDER if recipe.preparation else None
    groups, pad_id = len(pair.vocabulary.medications), teacher.tokenizer.pad_token_id
    model = teacher_model.load(recipe, pair.folder / ADAPTER, groups, pad_id, prepared)
    model = model.to(teacher.device)
    plain(model, ids[0], budget)
    return _rate(lambda: [plain(model, row, budget) for row in ids], sum(map(len, ids)))


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser("hidden-states", help="time the cache of hidden states")
    parser.add_argument("cohort", type=Path, nargs="?", default=COHORT, metavar="COHORT")
    parser.add_argument(
        "--prompts", type=int, default=192, metavar="N", help="visits (default 192)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure with the teacher in use, print and write."""
    if arguments.prompts < 1:
        raise WorkbenchError(f"--prompts: expected 1 or more, not {arguments.prompts}")
    facts = machine.facts()
    facts["versions"] |= {name: version(name) for name in ("torch", "transformers", "peft")}
    cohort, pair = Cohort.open(arguments.cohort), open_pair(champion_folder())
    figures = measure(pair, cohort, arguments.prompts)
    print(as_text(figures))
    print(machine.as_text(facts))
    if arguments.json:
        settings = {"threads": torch.get_num_threads()}
        write_json(arguments.json, {"benchmark": "hidden-states", **facts, **settings, **figures})
    return 0

"""Teach: LoRA fine-tuning of the base model on prompts.

A run is a function of its recipe: stopped at any step and resumed, or shared between processes by
`torchrun`, it takes the same steps on the same prompts.
"""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from torch import nn
from tqdm import tqdm
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase
from transformers.trainer_utils import get_last_checkpoint

from engine.config import Recipe, TeacherRecipe
from engine.errors import WorkbenchError
from engine.files import whole_folder
from engine.teacher import adapted_linear, distributed, lower_layers, memory, preparation
from engine.teacher import model as teacher_model
from engine.teacher.data import Collator, Examples, last_token
from engine.teacher.linear_path import FILE as LINEAR_PATH
from engine.teacher.linear_path import LinearPath, as_text
from engine.teacher.trainer import (
    BeforeFirstStep,
    JsonLines,
    StepsDone,
    TeacherTrainer,
    arguments,
    forget_after,
)

LOWER_LAYERS = "lower_layers"  # folder of a run, of use until its hidden states are computed
HEAD_PROMPTS = 256  # from which the head takes mean and deviation of the hidden states
Score = Callable[[np.ndarray, np.ndarray], dict[str, float]]  # (logits, labels) -> named metrics


def train(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    training: Examples,
    validation: Examples,
    score: Score,
    output: Path,
    resume: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Path:
    """Train a teacher and return `output/teacher`: the best adapter and head, and a linear path.

    Args:
        score: metrics on validation; must name `prauc`, by which the best checkpoint is kept.
        output: run folder; checkpoints, `metrics.jsonl` and TensorBoard logs go there too.
        resume: go on from the last whole checkpoint in `output`, or from the start if it was
            stopped before the first.
        report: called with the steps done, and all of them, after each.

    Under `torchrun` every process calls this, between `distributed.connected()`; the first one
    writes.

    Raises:
        WorkbenchError: a recipe that this base model, or this number of processes, cannot follow.
    """
    options = arguments(recipe, len(training), output, resume)  # refuses what cannot be
    memory.keep()
    checkpoint = distributed.first_only(lambda: _checkpoint(output, resume))
    prepared = distributed.first_only(lambda: preparation.prepare(recipe, output))
    torch.manual_seed(recipe.seed)
    network = teacher_model.build(recipe.teacher, training.labels, tokenizer.pad_token_id, prepared)
    collator = Collator(tokenizer.pad_token_id)
    if recipe.teacher.cache_lower_layers:
        training, validation, collator = _start_above_lower_layers(
            network, recipe, training, validation, output / LOWER_LAYERS
        )
    if _is_rounded_by_autocast(recipe.teacher):
        teacher_model.round_once(network)
        adapted_linear.replace_forward(network)
    trainer = TeacherTrainer(
        recipe=recipe,
        training=training,
        model=network,
        args=options,
        data_collator=collator,
        eval_dataset=validation,
        compute_metrics=lambda result: score(result.predictions, result.label_ids),
        callbacks=[EarlyStoppingCallback(recipe.teacher.patience), JsonLines(output)],
    )
    if checkpoint is None:  # else the head comes with it
        fit = partial(_fit_head, recipe=recipe, training=training, collator=collator)
        trainer.add_callback(BeforeFirstStep(lambda: fit(trainer.model_wrapped)))
    if report:
        trainer.add_callback(StepsDone(report))
    trainer.train(resume_from_checkpoint=checkpoint)
    best = Path(trainer.state.best_model_checkpoint)
    path = linear_path_of(recipe, tokenizer, training) if distributed.is_first() else None
    return distributed.first_only(lambda: _keep(best, path, output))


def linear_path_of(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, training: Examples
) -> LinearPath | None:
    """Fit the path that a recipe asks for beside the language model, or none."""
    if not recipe.teacher.linear_path:
        return None
    prompts = as_text(tokenizer, training.input_ids)
    return LinearPath.fit(prompts, training.labels.numpy())


def _is_rounded_by_autocast(teacher: TeacherRecipe) -> bool:
    """Whether frozen matrices are fp32 that each step rounds; FSDP wants one type in a block."""
    return teacher.precision == "bf16" and not teacher.load_in_4bit and teacher.sharding == "none"


def _checkpoint(output: Path, resume: bool) -> str | None:
    """Find the last whole checkpoint of a run to resume; clear what does not belong to the run."""
    folder = output / "checkpoints"
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    for checkpoint in folder.glob("checkpoint-*"):
        if not _is_whole(checkpoint):
            shutil.rmtree(checkpoint)
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    forget_after(output, int(last.rpartition("-")[2]) if last else 0)
    return last


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was saved to its end: the Trainer writes its own state last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _start_above_lower_layers(
    network: PeftModel, recipe: Recipe, training: Examples, validation: Examples, folder: Path
) -> tuple[Examples, Examples, Collator]:
    """Run the frozen lower layers once for all prompts and leave them out of the training."""
    model = network.get_base_model()
    below = model.config.num_hidden_layers - recipe.teacher.adapted_layers
    if below < 1:
        raise WorkbenchError(
            "cache_lower_layers: needs adapted_layers below the base model's "
            f"{model.config.num_hidden_layers} layers"
        )
    bf16 = recipe.teacher.precision == "bf16"
    batch_size = recipe.teacher.batch_size
    if not recipe.teacher.load_in_4bit:  # those lie on their device already
        model.to("cuda" if torch.cuda.is_available() else "cpu")
    parts = {"training": training, "validation": validation}

    def cached(name: str) -> lower_layers.LowerOutput:
        return lower_layers.compute(model, below, parts[name], folder / name, batch_size, bf16)

    def run_once() -> None:
        folder.mkdir(exist_ok=True)
        for name in parts:
            cached(name)

    distributed.first_only(run_once)  # then every process opens what it finds finished
    above = [lower_layers.CachedExamples.of(parts[name], cached(name)) for name in parts]
    lower_layers.skip(model, below)
    return *above, lower_layers.CachedCollator(model.config.pad_token_id)


def _fit_head(network: nn.Module, recipe: Recipe, training: Examples, collator: Collator) -> None:
    """Let the head know the hidden states it will see, from prompts spread over the training.

    Every process runs all of these prompts: sharded weights are gathered by all or by none.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = range(0, len(training), max(1, len(training) // HEAD_PROMPTS))
    batches = [
        rows[start : start + recipe.teacher.batch_size]
        for start in range(0, len(rows), recipe.teacher.batch_size)
    ]
    bf16 = recipe.teacher.precision == "bf16"
    hidden, quiet = [], not distributed.is_first()
    with (
        torch.no_grad(),
        torch.autocast(device.type, torch.bfloat16, enabled=bf16),
        teacher_model.head_input(network) as seen,
    ):
        for batch in tqdm(batches, desc="untrained model", unit="batch", disable=quiet):
            inputs = collator([training[row] for row in batch])
            inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
            network(**inputs)
            hidden.append(last_token(seen.pop().float(), inputs["attention_mask"]))
    with torch.no_grad():
        teacher_model.head_of(network).fit(torch.cat(hidden).clone())


def _keep(best: Path, path: LinearPath | None, output: Path) -> Path:
    """Put the best checkpoint's adapter and head, and the path, where the next stage looks."""
    final = output / "teacher"
    with whole_folder(final) as building:
        for name in (teacher_model.WEIGHTS, teacher_model.CONFIGURATION):
            shutil.copy(best / name, building / name)
        if path:
            path.save(building / LINEAR_PATH)
    return final

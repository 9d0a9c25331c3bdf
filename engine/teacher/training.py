"""Teach: LoRA fine-tuning of the base model on prompts, with `transformers.Trainer`.

The Trainer brings resume, `torchrun`, mixed precision and length grouping; what stands here is
only what is ours: two learning rates, early stopping on validation PRAUC, and plain logs.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from tqdm import tqdm
from transformers import (
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.files import whole_folder
from engine.teacher import lower_layers
from engine.teacher import model as teacher_model
from engine.teacher.data import Collator, Examples, last_token

LOWER_LAYERS = "lower_layers"  # folder of a run, removed when its teacher is finished
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
) -> Path:
    """Train a teacher and return `output/teacher`, which holds the best adapter and head.

    Args:
        score: metrics on validation; must name `prauc`, by which the best checkpoint is kept.
        output: run folder; checkpoints, `metrics.jsonl` and TensorBoard logs go there too.
        resume: go on from the last whole checkpoint in `output`.

    Raises:
        WorkbenchError: no checkpoint to resume from, or a recipe that this base model cannot
            follow.
    """
    torch.manual_seed(recipe.seed)
    checkpoints = output / "checkpoints"
    checkpoint = _checkpoint(checkpoints, resume)
    network = teacher_model.build(recipe.teacher, training.labels, tokenizer.pad_token_id)
    collator = Collator(tokenizer.pad_token_id)
    if recipe.teacher.cache_lower_layers:
        training, validation, collator = _start_above_lower_layers(
            network, recipe, training, validation, output / LOWER_LAYERS
        )
    _fit_head(network, recipe, training, collator)
    trainer = Trainer(
        model=network,
        args=_arguments(recipe, len(training), output, resume),
        data_collator=collator,
        train_dataset=training,
        eval_dataset=validation,
        compute_metrics=lambda result: score(result.predictions, result.label_ids),
        callbacks=[EarlyStoppingCallback(recipe.teacher.patience), JsonLines(output)],
        optimizers=(_optimizer(network, recipe), None),
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    shutil.rmtree(output / LOWER_LAYERS, ignore_errors=True)
    return _keep_best(network, output)


class JsonLines(TrainerCallback):
    """Appends every logged value to `metrics.jsonl`, one JSON object a line."""

    def __init__(self, output: Path) -> None:
        self.file = output / "metrics.jsonl"

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if state.is_world_process_zero and logs:
            with self.file.open("a", encoding="utf-8") as file:
                line = {"stage": "teacher", "step": state.global_step, **logs}
                file.write(json.dumps(line) + "\n")


def _checkpoint(folder: Path, resume: bool) -> str | None:
    for checkpoint in folder.glob("checkpoint-*"):
        if resume and not (checkpoint / "trainer_state.json").exists():
            shutil.rmtree(checkpoint)  # written last: without it the process died while saving
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if resume and last is None:
        raise WorkbenchError(f"{folder}: no checkpoint to resume from; run without --resume")
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    return last if resume else None


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
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    folder.mkdir(exist_ok=True)
    cached = []
    for name, examples in (("training", training), ("validation", validation)):
        lower = lower_layers.compute(model, below, examples, folder / name, batch_size, bf16)
        cached.append(lower_layers.CachedExamples.of(examples, lower))
    lower_layers.skip(model, below)
    return *cached, lower_layers.CachedCollator(model.config.pad_token_id)


def _fit_head(network: PeftModel, recipe: Recipe, training: Examples, collator: Collator) -> None:
    """Let the head know the hidden states it will see, from prompts spread over the training."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    rows = range(0, len(training), max(1, len(training) // HEAD_PROMPTS))
    batches = [
        rows[start : start + recipe.teacher.batch_size]
        for start in range(0, len(rows), recipe.teacher.batch_size)
    ]
    bf16 = recipe.teacher.precision == "bf16"
    hidden = []
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=bf16),
        teacher_model.head_input(network) as seen,
    ):
        for batch in tqdm(batches, desc="hidden states of the untrained model", unit="batch"):
            inputs = collator([training[row] for row in batch])
            inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
            network(**inputs)
            hidden.append(last_token(seen.pop().float(), inputs["attention_mask"]))
    with torch.no_grad():
        teacher_model.head_of(network).fit(torch.cat(hidden).clone())


def _arguments(recipe: Recipe, examples: int, output: Path, resume: bool) -> TrainingArguments:
    teacher = recipe.teacher
    steps = teacher.max_steps or max(1, round(teacher.epochs * examples / teacher.batch_size))
    interval = max(1, steps // teacher.evaluations)
    return TrainingArguments(
        output_dir=str(output / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=teacher.batch_size,
        per_device_eval_batch_size=teacher.batch_size,
        lr_scheduler_type="cosine",
        warmup_steps=round(teacher.warmup_share * steps),
        bf16=teacher.precision == "bf16",
        train_sampling_strategy="group_by_length",
        logging_steps=min(10, interval),
        eval_strategy="steps",
        eval_steps=interval,
        save_strategy="steps",
        save_steps=interval,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="prauc",
        greater_is_better=True,
        report_to=["tensorboard"],
        disable_tqdm=False,
        restore_callback_states_from_checkpoint=resume,
        seed=recipe.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        label_names=["labels"],
        remove_unused_columns=False,
    )


def _optimizer(network: PeftModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with a faster head: it starts from nothing, the adapters from a trained model."""
    adapters, head = [], []
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            (head if "modules_to_save" in name else adapters).append(weight)
    decay = recipe.teacher.weight_decay
    return torch.optim.AdamW(
        [
            {"params": adapters, "lr": recipe.teacher.learning_rate, "weight_decay": decay},
            {"params": head, "lr": recipe.teacher.head_learning_rate, "weight_decay": decay},
        ]
    )


def _keep_best(network: PeftModel, output: Path) -> Path:
    final = output / "teacher"
    with whole_folder(final) as building:
        network.save_pretrained(building, safe_serialization=True)
        (building / "README.md").unlink(missing_ok=True)  # a template PEFT leaves
    return final

"""`transformers.Trainer` as the teacher uses it: our batches, our loss, two learning rates.

The Trainer brings checkpoints, `torchrun`, sharding and mixed precision; what stands here is what
differs, and the plain log.
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from engine.config import Recipe, TeacherRecipe
from engine.errors import WorkbenchError
from engine.files import write_text
from engine.teacher import distributed
from engine.teacher.data import Examples
from engine.teacher.losses import MultiLabelLoss
from engine.teacher.preparation import FOLDER as PREPARATION
from engine.teacher.sampler import LengthBatches

LOG = "metrics.jsonl"
LOG_EVERY = 10  # steps
CHECKPOINT_EVERY = 100  # steps; and after every evaluation


class TeacherTrainer(Trainer):
    """A Trainer whose steps depend on the recipe alone, however often it was stopped."""

    def __init__(self, *, recipe: Recipe, training: Examples, **options) -> None:
        self.teacher = recipe.teacher
        self.batches = LengthBatches(
            [len(ids) for ids in training.input_ids],
            recipe.teacher.batch_size,
            recipe.seed,
            distributed.process(),
            distributed.processes(),
        )
        self.loss = MultiLabelLoss(recipe.teacher, training.labels)
        super().__init__(train_dataset=training, **options)
        self.loss.to(self.args.device)
        self.add_callback(PassNumber(self.batches))
        self.add_callback(MoreCheckpoints())

    def get_train_dataloader(self) -> DataLoader:
        """Return batches that are this process's own already: nothing shares them out again."""
        return DataLoader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
            generator=torch.Generator(),  # else each pass would draw from dropout's random numbers
        )

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Apply the recipe's loss; the mean over a process's prompts, which all hold as many."""
        # Without the mask attention is purely causal, which is faster; prompts are padded on the
        # right, where no real token looks, and the head finds their end by the pad token.
        unused = ("labels", "attention_mask")
        outputs = model(**{name: value for name, value in inputs.items() if name not in unused})
        loss = self.loss(outputs.logits.float(), inputs["labels"])
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """AdamW with a faster head: it starts from nothing, the adapters from a trained model."""
        if self.optimizer is None:
            adapters, head = [], []
            for name, weight in (model or self.model).named_parameters():
                if weight.requires_grad:
                    (head if "modules_to_save" in name else adapters).append(weight)
            decay = self.teacher.weight_decay
            rates = (adapters, self.teacher.learning_rate), (head, self.teacher.head_learning_rate)
            self.optimizer = torch.optim.AdamW(
                [{"params": part, "lr": rate, "weight_decay": decay} for part, rate in rates]
            )
        return self.optimizer

    def _save_rng_state(self, output_dir: str) -> None:
        """Keep random states; the checkpoint counts as whole only when every process's is there."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()


class Arguments(TrainingArguments):
    """Training arguments that use one graphics card a process.

    Without `torchrun` the Trainer would spread a batch over all cards in threads (DataParallel),
    which shares out neither the lower layers' output nor the work well.
    """

    @property
    def n_gpu(self) -> int:
        return min(1, super().n_gpu)


def arguments(recipe: Recipe, examples: int, output: Path, resume: bool) -> TrainingArguments:
    """Say to the Trainer what the recipe asks for; `examples` are the training prompts.

    Raises:
        WorkbenchError: the processes cannot share a batch evenly, or there are none to share with.
    """
    teacher = recipe.teacher
    processes = distributed.processes()
    if teacher.batch_size % processes:
        raise WorkbenchError(
            f"batch_size: {teacher.batch_size} cannot be shared evenly by {processes} processes; "
            "make it a multiple, or start fewer"
        )
    if teacher.sharding == "fsdp" and processes == 1:
        raise WorkbenchError(
            "sharding: fsdp shares the base model out between processes; start the same command "
            "with torchrun --nproc-per-node N -m engine …, or set sharding: none"
        )
    steps = teacher.max_steps or max(1, round(teacher.epochs * examples / teacher.batch_size))
    interval = max(1, steps // teacher.evaluations)
    each = teacher.batch_size // processes
    return Arguments(
        output_dir=str(output / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=each,
        per_device_eval_batch_size=each,
        lr_scheduler_type="cosine",
        warmup_steps=round(teacher.warmup_share * steps),
        bf16=teacher.precision == "bf16",
        logging_steps=min(LOG_EVERY, interval),
        eval_strategy="steps",
        eval_steps=interval,
        save_strategy="steps",
        save_steps=interval,
        save_total_limit=2,
        metric_for_best_model="prauc",
        greater_is_better=True,
        report_to=["tensorboard"],
        log_level="error",
        log_level_replica="error",
        disable_tqdm=not distributed.is_first(),
        restore_callback_states_from_checkpoint=resume,
        seed=recipe.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        label_names=["labels"],
        remove_unused_columns=False,
        ddp_timeout=int(distributed.TIMEOUT.total_seconds()),
        ddp_find_unused_parameters=False,
        **_sharding(teacher),
    )


class JsonLines(TrainerCallback):
    """Appends every logged value to `metrics.jsonl`, one JSON object a line."""

    def __init__(self, output: Path) -> None:
        self.file = output / LOG

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if state.is_world_process_zero and logs:
            with self.file.open("a", encoding="utf-8") as file:
                line = {"stage": "teacher", "step": state.global_step, **logs}
                file.write(json.dumps(line) + "\n")


class StepsDone(TrainerCallback):
    """Says after every step how many are done, and of how many."""

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self.report = report

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.report(state.global_step, state.max_steps)

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self.report(state.global_step, state.max_steps)


def forget_after(output: Path, step: int) -> None:
    """Drop from `metrics.jsonl` what was logged after the teacher's `step`: it comes again."""
    file = output / LOG
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            logged = json.loads(line)
            stage = logged["stage"]
            if stage == PREPARATION or (stage == "teacher" and logged["step"] <= step):
                kept.append(line)
        except ValueError:
            continue  # the process died while it wrote this line
    write_text(file, "".join(kept))


class PassNumber(TrainerCallback):
    """Tells the batches which pass begins, after a resume too."""

    def __init__(self, batches: LengthBatches) -> None:
        self.batches = batches

    def on_epoch_begin(self, args, state, control, **kwargs) -> None:
        self.batches.set_pass(state.global_step // len(self.batches))


class BeforeFirstStep(TrainerCallback):
    """Does something once the model lies on its devices."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.work()


class MoreCheckpoints(TrainerCallback):
    """Asks for checkpoints between evaluations, so that a stop costs minutes."""

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if state.global_step % CHECKPOINT_EVERY == 0:
            control.should_save = True


def _sharding(teacher: TeacherRecipe) -> dict:
    """Return the Trainer's options for FSDP2: each block's weights gathered when it runs."""
    if teacher.sharding == "none":
        return {}
    options = {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        "state_dict_type": "FULL_STATE_DICT",
    }
    return {"fsdp": True, "fsdp_config": options}

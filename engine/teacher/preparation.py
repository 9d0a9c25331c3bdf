"""Prepare: continued training of the base model on terminology text, before it sees a patient.

    prepare(recipe, output)      ->  output/preparation

LoRA adapters on the base model learn `terminology_text` as any causal language model learns text.
They are kept, a few MB, and merged into the base model's weights wherever the teacher is built or
loaded. The stage is short and runs in one process, whatever `torchrun` started.
"""

import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers import get_cosine_schedule_with_warmup as cosine_schedule

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.files import sha256, whole_folder, write_json
from engine.teacher import terminology_text
from engine.teacher.base_model import load_tokenizer, resolve, unreadable

FOLDER = "preparation"
WEIGHTS = "adapter_model.safetensors"
CONFIGURATION = "adapter_config.json"
RECORD = "preparation.json"  # settings, tokens read, perplexity before and after
HELD_OUT_ROWS = 32  # of `max_tokens` each, on which perplexity is measured
WARMUP_SHARE = 0.05
LOG_EVERY = 10  # steps


def prepare(recipe: Recipe, output: Path) -> Path | None:
    """Train the adapters of a recipe with a `preparation`; returns `output/preparation`.

    What was finished with the same settings is kept; None when the recipe has no preparation.

    Raises:
        WorkbenchError: a base model that cannot be read, or a training that diverged.
    """
    if recipe.teacher.preparation is None:
        return None
    folder = output / FOLDER
    if not is_finished(recipe, output):
        with whole_folder(folder) as building:
            _train(recipe, building, output / "metrics.jsonl")
    return folder


def is_finished(recipe: Recipe, output: Path) -> bool:
    """Whether the preparation that a recipe asks for lies in `output`, whole."""
    try:
        record = json.loads((output / FOLDER / RECORD).read_text(encoding="utf-8"))
        made = record["settings"], record["weights_sha256"]
        return made == (_settings(recipe), sha256(output / FOLDER / WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def merge(model: PreTrainedModel, folder: Path) -> None:
    """Add a preparation's adapters to the weights of a model's backbone, in place.

    Raises:
        WorkbenchError: the adapters are missing, or belong to another base model.
    """
    if not (folder / WEIGHTS).is_file():  # else PEFT would look for it on the hub
        raise WorkbenchError(f"{folder / WEIGHTS}: missing; restore the folder")
    try:
        PeftModel.from_pretrained(_backbone(model), str(folder)).merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise WorkbenchError(
            f"{folder}: the preparation does not fit the base model ({reason}); "
            "restore the folder, or name the base model that it was trained on"
        ) from None


def perplexity(model: PreTrainedModel, rows: torch.Tensor, bf16: bool) -> float:
    """Return exp of the mean negative log-likelihood a token; `rows` is (rows, tokens)."""
    device = next(model.parameters()).device
    total = 0.0
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for row in rows.to(device):
            total += model(input_ids=row[None], labels=row[None]).loss.item()
    return math.exp(total / len(rows))


def rows_of(
    sentences: Iterable[str], tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> Iterator[list[int]]:
    """Fill rows of `max_tokens` tokens with sentences, a line each, without gaps."""
    row: list[int] = []
    for sentence in sentences:
        row += tokenizer(sentence + "\n", add_special_tokens=False)["input_ids"]
        while len(row) >= max_tokens:
            yield row[:max_tokens]
            row = row[max_tokens:]


def _train(recipe: Recipe, folder: Path, log: Path) -> None:
    options, bf16 = recipe.teacher.preparation, recipe.teacher.precision == "bf16"
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = load_tokenizer(recipe.teacher.base_model)
    model = _base(recipe.teacher.base_model).to(device)
    text = terminology_text.held_out(HELD_OUT_ROWS * options.max_tokens // 8, recipe.seed)
    held_out = torch.tensor(
        list(islice(rows_of(text, tokenizer, options.max_tokens), HELD_OUT_ROWS))
    )
    reading = rows_of(terminology_text.sentences(recipe.seed), tokenizer, options.max_tokens)
    before = perplexity(model, held_out, bf16)
    adapters = _adapt(model, options.lora_rank)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.learning_rate, weight_decay=0.0)
    schedule = cosine_schedule(optimizer, round(WARMUP_SHARE * options.steps), options.steps)
    model.train()
    for step in tqdm(range(1, options.steps + 1), desc=FOLDER, unit="step"):
        batch = torch.tensor(list(islice(reading, options.batch_size)), device=device)
        loss = _step(model, batch, optimizer, schedule, bf16)
        if step % LOG_EVERY == 0 or step == options.steps:
            _log(log, {"step": step, "loss": round(loss, 4)})
    after = perplexity(model.eval(), held_out, bf16)
    adapters.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)  # a template PEFT leaves
    reached = {"before": round(before, 3), "after": round(after, 3)}
    _log(log, {"step": options.steps, "held_out_perplexity": reached})
    record = {
        "settings": _settings(recipe),
        "weights_sha256": sha256(folder / WEIGHTS),
        "tokens": options.steps * options.batch_size * options.max_tokens,
        "held_out_tokens": held_out.numel(),
        "held_out_perplexity": reached,
    }
    write_json(folder / RECORD, record)


def _step(
    model: PreTrainedModel,
    batch: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    schedule: LambdaLR,
    bf16: bool,
) -> float:
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=bf16):
        loss = model(input_ids=batch, labels=batch).loss
    if not torch.isfinite(loss):
        raise WorkbenchError(
            "the preparation diverged; lower preparation.learning_rate in the recipe"
        )
    loss.backward()
    trained = [weight for group in optimizer.param_groups for weight in group["params"]]
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    return loss.item()


def _base(name: str) -> PreTrainedModel:
    try:
        model = AutoModelForCausalLM.from_pretrained(
            resolve(name), dtype=torch.float32, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise unreadable(name, error) from None
    model.config.use_cache = False
    return model.eval().requires_grad_(False)


def _adapt(model: PreTrainedModel, rank: int) -> PeftModel:
    """Put adapters on the backbone, which a teacher with a head has too; the rest is frozen."""
    configuration = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    return get_peft_model(_backbone(model), configuration)


def _backbone(model: PreTrainedModel) -> PreTrainedModel:
    """Return the layers below the head, whatever the architecture calls them."""
    return getattr(model, model.base_model_prefix)


def _settings(recipe: Recipe) -> dict:
    """Return all that a preparation depends on."""
    teacher = recipe.teacher
    return {
        **teacher.preparation.model_dump(mode="json"),
        "base_model": teacher.base_model,
        "precision": teacher.precision,
        "seed": recipe.seed,
    }


def _log(file: Path, line: dict) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"stage": FOLDER, **line}) + "\n")

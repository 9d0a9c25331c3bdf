"""The teacher's network: a causal language model, LoRA adapters and a multi-label head."""

import re
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from engine.config import TeacherRecipe
from engine.errors import WorkbenchError
from engine.teacher.base_model import resolve, unreadable

HEAD_NAMES = ("score", "classifier")  # what architectures call their classification head


def build(recipe: TeacherRecipe, labels: torch.Tensor, pad_id: int) -> PeftModel:
    """Return a trainable teacher.

    Args:
        labels: (visits, groups) training targets; the head's bias starts at their log-odds.
        pad_id: the tokenizer's pad token, by which the last prompt token is found.
    """
    model, head_name = _with_head(recipe.base_model, labels.shape[1], pad_id)
    head = getattr(model, head_name)
    nn.init.normal_(head.weight, std=0.02 / head.in_features**0.5)
    with torch.no_grad():
        head.bias.copy_(log_odds(labels))
    configuration = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=_linear_layers(model, head_name, recipe.adapted_layers),
        modules_to_save=[head_name],
    )
    return get_peft_model(model, configuration)


def load(base_model: str, adapter: Path, groups: int, pad_id: int) -> PreTrainedModel:
    """Return a trained teacher for inference, its adapters merged into the base weights."""
    model, _ = _with_head(base_model, groups, pad_id)
    try:
        adapted = PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise WorkbenchError(
            f"{adapter}: the adapter does not fit base model '{base_model}' ({reason}); "
            "restore the folder, or name the base model that it was trained on"
        ) from None
    return adapted.merge_and_unload().eval()


def log_odds(labels: torch.Tensor) -> torch.Tensor:
    """Return (groups,) log-odds of each group's frequency, half a visit added on either side."""
    given = labels.sum(dim=0)
    return torch.log((given + 0.5) / (len(labels) - given + 0.5))


def _with_head(base_model: str, groups: int, pad_id: int) -> tuple[PreTrainedModel, str]:
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            resolve(base_model),
            num_labels=groups,
            problem_type="multi_label_classification",
            dtype=torch.float32,
        )
    except (OSError, ValueError) as error:
        raise unreadable(base_model, error) from None
    model.config.pad_token_id = pad_id
    model.config.use_cache = False
    for name in HEAD_NAMES:
        head = getattr(model, name, None)
        if isinstance(head, nn.Linear):
            setattr(model, name, nn.Linear(head.in_features, groups, bias=True))
            return model, name
    raise WorkbenchError(
        f"base_model '{base_model}': no linear classification head named {' or '.join(HEAD_NAMES)}"
    )


def _linear_layers(model: PreTrainedModel, head_name: str, top: int | None) -> list[str]:
    """Name every linear layer but the head, of the top blocks only when `top` is given."""
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name != head_name
    ]
    if top is None:
        return names
    block = {
        name: int(found.group(1)) for name in names if (found := re.search(r"\.(\d+)\.", name))
    }
    lowest = max(block.values(), default=-1) - top + 1
    return [name for name in names if block.get(name, -1) >= lowest]

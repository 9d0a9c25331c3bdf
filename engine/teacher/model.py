"""The teacher's network: a causal language model, LoRA adapters and a multi-label head."""

import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    PreTrainedModel,
)

from engine.config import TeacherRecipe
from engine.errors import WorkbenchError
from engine.teacher.base_model import resolve, unreadable
from engine.teacher.losses import group_weights
from engine.teacher.preparation import merge

WEIGHTS = "adapter_model.safetensors"
CONFIGURATION = "adapter_config.json"
HEAD_NAMES = ("score", "classifier")  # what architectures call their classification head


class Head(nn.Module):
    """One logit per medication group, from hidden states brought to mean 0 and variance 1.

    What a language model puts out at the end of such prompts is nearly the same for every patient:
    the differences are a tenth of the common part, on which a plain linear head spends its steps.

    With `mean`, the average over the prompt so far stands beside each token's own state: a drug
    named anywhere then reaches the head directly, not only through what the last token kept of it.
    """

    def __init__(self, hidden_size: int, groups: int, mean: bool = False) -> None:
        super().__init__()
        self.with_mean = mean
        width = 2 * hidden_size if mean else hidden_size
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.linear = nn.Linear(width, groups)
        nn.init.zeros_(self.linear.weight)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (prompts, length, hidden_size) of the last layer to (prompts, length, groups)."""
        return self.score(self.pool(hidden))

    def pool(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return (prompts, length, width): what stands for the prompt up to each token.

        Prompts are padded on the right, so padding is never part of a mean that is used.
        """
        if not self.with_mean:
            return hidden
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = hidden.float()
            so_far = torch.arange(1, hidden.shape[1] + 1, device=hidden.device).unsqueeze(1)
            return torch.cat([hidden, hidden.cumsum(dim=1) / so_far], dim=2)

    def score(self, pooled: torch.Tensor) -> torch.Tensor:
        """Map (..., width) to (..., groups), in full precision: half of it makes ties."""
        with torch.autocast(pooled.device.type, enabled=False):
            return self.linear((pooled.float() - self.mean) / self.deviation)

    def fit(self, pooled: torch.Tensor) -> None:
        """Take mean and deviation from (prompts, width) of the untrained model."""
        self.mean.copy_(pooled.mean(dim=0))
        self.deviation.copy_(pooled.std(dim=0, correction=0).clamp_min(1e-3))


def build(
    recipe: TeacherRecipe, labels: torch.Tensor, pad_id: int, preparation: Path | None = None
) -> PeftModel:
    """Return a trainable teacher.

    Args:
        labels: (visits, groups) training targets; the head's bias starts at their log-odds, as
            the recipe's class weighting moves them.
        pad_id: the tokenizer's pad token, by which the last prompt token is found.
        preparation: folder of the preparatory stage, merged into the base model first.

    Raises:
        WorkbenchError: a base model that cannot be read, or layers asked for that it has not.
    """
    quantization = _four_bits() if recipe.load_in_4bit else {}
    model, head_name = _with_head(recipe, labels.shape[1], pad_id, **quantization)
    if preparation:
        merge(model, preparation)
    weight = group_weights(labels, recipe.class_weighting)
    bias = log_odds(labels) if weight is None else log_odds(labels) + weight.log()
    with torch.no_grad():
        getattr(model, head_name).linear.bias.copy_(bias)
    configuration = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=_linear_layers(model, head_name, recipe),
        modules_to_save=[head_name],
    )
    return get_peft_model(model, configuration)


def load(
    recipe: TeacherRecipe, adapter: Path, groups: int, pad_id: int, preparation: Path | None = None
) -> PreTrainedModel:
    """Return a trained teacher for inference, its adapters merged into the base weights.

    `preparation` is the folder of the preparatory stage, where the teacher was trained after one.
    """
    if not (adapter / WEIGHTS).is_file():  # else PEFT would look for it on the hub
        raise WorkbenchError(f"{adapter / WEIGHTS}: missing; restore the folder")
    model, _ = _with_head(recipe, groups, pad_id)
    if preparation:
        merge(model, preparation)
    try:
        adapted = PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise WorkbenchError(
            f"{adapter}: the adapter does not fit base model '{recipe.base_model}' ({reason}); "
            "restore the folder, or name the base model that it was trained on"
        ) from None
    return adapted.merge_and_unload().eval()


def round_once(network: PeftModel) -> None:
    """Store frozen matrices as bf16 and leave adapters' inputs in bf16: what autocast does anyway.

    It would round every frozen matrix again at every step, and PEFT would widen each input to the
    adapters' fp32 only to have it rounded back. The numbers stay the same.
    """
    for module in network.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False
        if isinstance(module, nn.Linear) and not module.weight.requires_grad:
            module.weight.data = module.weight.data.to(torch.bfloat16)


def log_odds(labels: torch.Tensor) -> torch.Tensor:
    """Return (groups,) log-odds of each group's frequency, half a visit added on either side."""
    given = labels.sum(dim=0)
    return torch.log((given + 0.5) / (len(labels) - given + 0.5))


def head_of(model: nn.Module) -> Head:
    """Return the head in use of a teacher, with or without adapters around it."""
    heads = [module for module in model.modules() if isinstance(module, Head)]
    return heads[-1]  # PEFT keeps the untrained original first and trains a copy


@contextmanager
def head_input(model: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Catch what the head scores: the last layer's output, pooled as the head pools it."""
    seen: list[torch.Tensor] = []
    head = head_of(model)
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(head.pool(inputs[0])))
    try:
        yield seen
    finally:
        hook.remove()


def _four_bits() -> dict:
    """Return the loading options of QLoRA (Dettmers et al., arXiv 2305.14314, section 3)."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise WorkbenchError(
            "load_in_4bit: needs the package bitsandbytes, which is not installed; "
            "run: .venv/bin/pip install bitsandbytes, or set load_in_4bit: false in the recipe"
        )
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=list(HEAD_NAMES),
    )
    card = int(os.environ.get("LOCAL_RANK", 0)) if torch.cuda.is_available() else "cpu"
    return {"quantization_config": quantization, "device_map": {"": card}}


def _with_head(
    recipe: TeacherRecipe, groups: int, pad_id: int, **options
) -> tuple[PreTrainedModel, str]:
    base_model = recipe.base_model
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            resolve(base_model),
            num_labels=groups,
            problem_type="multi_label_classification",
            dtype=torch.float32,
            use_safetensors=True,  # never a pickle
            **options,
        )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise unreadable(base_model, error) from None
    model.config.pad_token_id = pad_id
    model.config.use_cache = False
    for name in HEAD_NAMES:
        head = getattr(model, name, None)
        if isinstance(head, nn.Linear):
            mean = recipe.pooling == "last_and_mean"
            setattr(model, name, Head(head.in_features, groups, mean))
            return model, name
    raise WorkbenchError(
        f"base_model '{base_model}': no linear classification head named {' or '.join(HEAD_NAMES)}"
    )


def _linear_layers(model: PreTrainedModel, head_name: str, recipe: TeacherRecipe) -> list[str]:
    """Name the linear layers a recipe adapts: all but the head, or fewer kinds, or fewer blocks."""
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(head_name)
    ]
    if recipe.lora_targets != "all-linear":
        kinds = {name.rpartition(".")[2] for name in names}
        unknown = sorted(set(recipe.lora_targets) - kinds)
        if unknown or not recipe.lora_targets:
            raise WorkbenchError(
                f"lora_targets: {', '.join(unknown) or 'an empty list'} names no linear layer of "
                f"the base model; it has {', '.join(sorted(kinds))}"
            )
        names = [name for name in names if name.rpartition(".")[2] in recipe.lora_targets]
    top = recipe.adapted_layers
    if top is None:
        return names
    depth = model.config.num_hidden_layers
    if top > depth:
        raise WorkbenchError(
            f"adapted_layers: {top} asked for, but the base model has {depth} layers"
        )
    block = {
        name: int(found.group(1)) for name in names if (found := re.search(r"\.(\d+)\.", name))
    }
    lowest = max(block.values(), default=-1) - top + 1
    return [name for name in names if block.get(name, -1) >= lowest]

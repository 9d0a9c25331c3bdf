"""The teacher's reading by OpenVINO, where that is installed: what ours is compared with.

read = reader(network)      None without the package; .venv/bin/pip install openvino
"""

import importlib.util
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from engine.teacher.inference import body_of


def reader(network: PreTrainedModel) -> Callable[[Sequence[Sequence[int]]], object] | None:
    """Return a function that reads prompts of one length in bf16, or None without OpenVINO.

    `network` is in fp32; the conversion takes some seconds for the default base model.
    """
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the trace: lengths are free, as they should be
        model = openvino.convert_model(
            _Traced(body_of(network)),
            example_input=torch.ones(2, 33, dtype=torch.long),
            input=[openvino.PartialShape([-1, -1])],
        )
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    return lambda prompts: compiled([torch.tensor(prompts).numpy()])


class _Traced(nn.Module):
    """The language model with its mask and places written out: it would guess them otherwise."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body.eval()

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        places = torch.arange(input_ids.shape[1])
        mask = torch.where(places[None] <= places[:, None], 0.0, -1e9)[None, None]
        output = self.body(
            input_ids=input_ids,
            attention_mask=mask,
            position_ids=places[None],
            use_cache=False,
        )
        return output.last_hidden_state

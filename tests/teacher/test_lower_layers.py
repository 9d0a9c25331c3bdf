"""Running the frozen lower layers once must not change what is trained."""

import pytest
import torch

from engine.config import TeacherRecipe
from engine.teacher import lower_layers
from engine.teacher import model as teacher_model
from engine.teacher.data import Collator, Examples

EXAMPLES = Examples(((5, 6, 7, 8), (9, 10)), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))


@pytest.fixture
def network(tiny_base):
    torch.manual_seed(0)
    recipe = TeacherRecipe(base_model=str(tiny_base), lora_rank=2, adapted_layers=1)
    network = teacher_model.build(recipe, EXAMPLES.labels, pad_id=1)
    torch.nn.init.normal_(teacher_model.head_of(network).linear.weight)
    return network


def test_loss_and_gradients_are_those_of_the_whole_model(network, tmp_path):
    plain = network(**Collator(1)([EXAMPLES[0], EXAMPLES[1]]))
    plain.loss.backward()
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    gradients = {name: weight.grad.clone() for name, weight in trained.items()}
    network.zero_grad()

    base = network.get_base_model()
    lower = lower_layers.compute(base, 1, EXAMPLES, tmp_path / "lower", batch_size=2, bf16=False)
    lower_layers.skip(base, 1)
    cached = lower_layers.CachedExamples.of(EXAMPLES, lower)
    short = network(**lower_layers.CachedCollator(1)([cached[0], cached[1]]))
    short.loss.backward()

    # Half precision on disk: three digits.
    torch.testing.assert_close(short.logits, plain.logits, rtol=2e-3, atol=2e-3)
    for name, weight in trained.items():
        torch.testing.assert_close(weight.grad, gradients[name], rtol=0.02, atol=2e-3)


def test_values_too_large_to_keep_are_said_not_kept(network, tmp_path):
    base = network.get_base_model()
    with torch.no_grad():
        base.get_input_embeddings().weight.mul_(1e8)
    with pytest.raises(lower_layers.WorkbenchError, match="too large to keep"):
        lower_layers.compute(base, 1, EXAMPLES, tmp_path / "lower", batch_size=2, bf16=False)


def test_a_finished_file_is_used_again_and_other_prompts_are_not_mixed_up(network, tmp_path):
    base, path = network.get_base_model(), tmp_path / "lower"
    first = lower_layers.compute(base, 1, EXAMPLES, path, batch_size=2, bf16=False)
    written = path.stat().st_mtime_ns
    again = lower_layers.compute(base, 1, EXAMPLES, path, batch_size=2, bf16=False)
    assert path.stat().st_mtime_ns == written
    assert (again.values == first.values).all()
    other = Examples(((5, 6, 7, 9), (9, 10)), EXAMPLES.labels)
    changed = lower_layers.compute(base, 1, other, path, batch_size=2, bf16=False)
    assert (changed.values[3] != again.values[3]).any() or path.stat().st_mtime_ns != written


def test_a_file_of_another_preparation_is_not_used(network, tmp_path):
    base, path = network.get_base_model(), tmp_path / "lower"
    first = lower_layers.compute(base, 1, EXAMPLES, path, batch_size=2, bf16=False)
    plain = first.values.copy()
    with torch.no_grad():
        base.get_decoder().layers[0].self_attn.v_proj.weight.mul_(1.5)
    prepared = lower_layers.compute(base, 1, EXAMPLES, path, batch_size=2, bf16=False)
    assert (prepared.values != plain).any()

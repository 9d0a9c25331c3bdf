"""The short way through LoRA's layers trains what PEFT's own way trains."""

import json

import pytest
import torch

from engine.config import TeacherRecipe
from engine.jobs import lessons, pipeline
from engine.records.cohort import Cohort
from engine.records.labels import label_matrix
from engine.teacher import adapted_linear
from engine.teacher import model as teacher_model
from engine.teacher.trainer import LOG

LABELS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
PROMPTS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])


def network_of(tiny_base, **options):
    """Return a network whose adapters are no longer at their start, where they add nothing."""
    torch.manual_seed(0)
    recipe = TeacherRecipe(base_model=str(tiny_base), lora_rank=2, lora_alpha=3, **options)
    network = teacher_model.build(recipe, LABELS, pad_id=1)
    for name, weight in network.named_parameters():
        if weight.requires_grad and "linear.bias" not in name:
            torch.nn.init.normal_(weight, std=0.1)
    return network


def learnt(network, bf16=False):
    """Return logits and every gradient of one step."""
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        answer = network(input_ids=PROMPTS, labels=LABELS)
    answer.loss.backward()
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    assert all(weight.grad is not None for weight in trained.values())
    return answer.logits.detach(), {name: weight.grad.clone() for name, weight in trained.items()}


def test_logits_and_gradients_are_pefts_within_a_hundred_thousandth(tiny_base):
    network = network_of(tiny_base)
    logits, gradients = learnt(network)
    adapted_linear.replace_forward(network)
    short_logits, short_gradients = learnt(network)
    assert logits.std() > 0.01
    torch.testing.assert_close(short_logits, logits, rtol=0, atol=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(short_gradients[name], gradient, rtol=1e-4, atol=1e-5)


def test_in_bf16_it_is_no_further_from_full_precision_than_peft(tiny_base):
    exact, _ = learnt(network_of(tiny_base))
    network = network_of(tiny_base)
    teacher_model.round_once(network)
    pefts, _ = learnt(network, bf16=True)
    adapted_linear.replace_forward(network)
    short, gradients = learnt(network, bf16=True)
    assert (short - exact).abs().max() <= 1.5 * (pefts - exact).abs().max() + 1e-3
    assert all(gradient.dtype == torch.float32 for gradient in gradients.values())


def test_an_input_rounded_without_gradients_is_not_taken_for_one_with(tiny_base):
    network = network_of(tiny_base)
    teacher_model.round_once(network)
    adapted_linear.replace_forward(network)
    _, first = learnt(network, bf16=True)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        network(input_ids=PROMPTS)
    _, again = learnt(network, bf16=True)
    for name, gradient in first.items():
        torch.testing.assert_close(again[name], gradient, rtol=0, atol=0)


@pytest.mark.parametrize("change", ["merged", "disabled"])
def test_merged_and_disabled_adapters_are_left_to_peft(tiny_base, change):
    network = network_of(tiny_base).eval()
    adapted_linear.replace_forward(network)
    with torch.no_grad():
        adapted = network(input_ids=PROMPTS).logits
        if change == "merged":
            network.merge_adapter()
            torch.testing.assert_close(network(input_ids=PROMPTS).logits, adapted)
        else:
            with network.disable_adapter():
                assert (network(input_ids=PROMPTS).logits - adapted).abs().max() > 1e-3


def test_layers_with_dropout_keep_their_own_way(tiny_base):
    network = network_of(tiny_base, lora_dropout=0.5).train()
    adapted_linear.replace_forward(network)
    with torch.no_grad():
        one, other = (network(input_ids=PROMPTS).logits for _ in range(2))
    assert (one != other).any()


def test_a_teacher_trained_in_bf16_is_saved_as_it_answered(tiny_cohort, tiny_recipe, tmp_path):
    cohort = Cohort.open(tiny_cohort)
    changes = {"precision": "bf16", "learning_rate": 1e-2}
    recipe = tiny_recipe.model_copy(
        update={"teacher": tiny_recipe.teacher.model_copy(update=changes)}
    )
    pipeline.train_teacher(cohort, recipe, tmp_path, say=lambda text: None)
    logged = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    best = max(line["eval_prauc"] for line in logged if "eval_prauc" in line)
    visits = pipeline.validation_visits(cohort, recipe)
    teacher = lessons.open_teacher(cohort, recipe, tmp_path)
    logits, _ = teacher.predict([teacher.prompt(visit, cohort.title).text for visit in visits])
    truth, _ = label_matrix(visits, cohort.vocabulary)
    assert pipeline.score_logits(logits, truth)["prauc"] == pytest.approx(best, abs=0.01)

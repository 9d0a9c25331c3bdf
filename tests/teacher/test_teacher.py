"""The teacher: its head, its adapters, its batches, and where its hidden state comes from."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.config import Recipe, TeacherRecipe
from engine.errors import WorkbenchError
from engine.jobs import pipeline
from engine.records.cohort import Cohort
from engine.teacher import base_model, hidden_states
from engine.teacher import model as teacher_model
from engine.teacher.data import Collator
from engine.teacher.inference import Teacher

LABELS = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])


@pytest.fixture(scope="module")
def teacher(tiny_run, tiny_recipe, tiny_cohort) -> Teacher:
    groups = len(Cohort.open(tiny_cohort).vocabulary.medications)
    return Teacher.of(tiny_recipe, tiny_run / "teacher", groups)


def test_the_untrained_head_starts_at_each_groups_frequency(tiny_base):
    recipe = TeacherRecipe(base_model=str(tiny_base))
    network = teacher_model.build(recipe, LABELS, pad_id=1)
    logits = network(input_ids=torch.tensor([[5, 6, 7]])).logits
    torch.testing.assert_close(logits.detach()[0], teacher_model.log_odds(LABELS))


def test_the_head_brings_hidden_states_to_mean_0_and_variance_1():
    head = teacher_model.Head(3, 3)
    hidden = torch.tensor([[1.0, 10.0, -4.0], [3.0, 10.0, 4.0]])
    head.fit(hidden)
    torch.nn.init.eye_(head.linear.weight)
    torch.nn.init.zeros_(head.linear.bias)
    torch.testing.assert_close(
        head(hidden).detach(), torch.tensor([[-1.0, 0.0, -1.0], [1.0, 0.0, 1.0]])
    )


def test_adapters_on_the_top_layers_only(tiny_base):
    recipe = TeacherRecipe(base_model=str(tiny_base), adapted_layers=1)
    network = teacher_model.build(recipe, LABELS, pad_id=1)
    adapted = [name for name, weight in network.named_parameters() if weight.requires_grad]
    assert any(".layers.1." in name for name in adapted)
    assert not any(".layers.0." in name for name in adapted)


def test_adapters_on_the_kinds_of_layers_a_recipe_names(tiny_base):
    recipe = TeacherRecipe(base_model=str(tiny_base), lora_targets=("q_proj", "v_proj"))
    network = teacher_model.build(recipe, LABELS, pad_id=1)
    adapted = {name.split(".lora_")[0] for name, _ in network.named_parameters() if "lora_" in name}
    assert {name.rpartition(".")[2] for name in adapted} == {"q_proj", "v_proj"}
    assert len(adapted) == 4


def test_layers_the_base_model_has_not_are_named_with_those_it_has(tiny_base):
    recipe = TeacherRecipe(base_model=str(tiny_base), lora_targets=("q_proj", "query"))
    with pytest.raises(WorkbenchError, match="lora_targets: query names no .*q_proj"):
        teacher_model.build(recipe, LABELS, pad_id=1)


def test_four_bits_without_bitsandbytes_say_what_is_missing(tiny_base, monkeypatch):
    monkeypatch.setattr(teacher_model.importlib.util, "find_spec", lambda name: None)
    recipe = TeacherRecipe(base_model=str(tiny_base), load_in_4bit=True)
    with pytest.raises(WorkbenchError, match="load_in_4bit.*bitsandbytes") as error:
        teacher_model.build(recipe, LABELS, pad_id=1)
    assert "\n" not in str(error.value)


def test_a_weighted_head_starts_where_its_weights_move_it(tiny_base):
    recipe = TeacherRecipe(base_model=str(tiny_base), class_weighting="balanced")
    bias = teacher_model.head_of(teacher_model.build(recipe, LABELS, pad_id=1)).linear.bias
    torch.testing.assert_close(bias.detach(), torch.zeros(2))


def test_a_batch_is_padded_on_the_right_to_its_own_longest_prompt():
    batch = Collator(pad_id=9)([{"input_ids": [1, 2, 3]}, {"input_ids": list(range(9))}])
    assert batch["input_ids"].shape == (2, 16)
    assert batch["attention_mask"].sum(dim=1).tolist() == [3, 9]
    assert batch["input_ids"][0, 3:].unique().tolist() == [9]


def test_the_hidden_state_is_what_the_head_reads(teacher):
    logits, hidden = teacher.predict(["The patient is a woman."])
    head = teacher_model.head_of(teacher.model)
    again = head.score(torch.from_numpy(hidden)).detach().numpy()
    np.testing.assert_allclose(again, logits, atol=1e-4)


def test_a_head_with_the_mean_sees_every_token_and_no_padding():
    head = teacher_model.Head(2, 3, mean=True)
    torch.nn.init.normal_(head.linear.weight)
    prompt = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    torch.testing.assert_close(
        head.pool(prompt)[0], torch.tensor([[1.0, 2.0, 1.0, 2.0], [3.0, 6.0, 2.0, 4.0]])
    )
    padded = torch.cat([prompt, torch.full((1, 3, 2), 9.0)], dim=1)
    torch.testing.assert_close(head(padded)[:, :2], head(prompt))


def test_a_saved_teacher_pools_as_its_recipe_says(tiny_base, tmp_path):
    recipe = TeacherRecipe(base_model=str(tiny_base), pooling="last_and_mean")
    network = teacher_model.build(recipe, LABELS, pad_id=1).eval()
    torch.nn.init.normal_(teacher_model.head_of(network).linear.weight)
    network.save_pretrained(tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        loaded = teacher_model.load(recipe, tmp_path, 2, pad_id=1)
        torch.testing.assert_close(
            loaded(input_ids=ids).logits, network(input_ids=ids).logits, atol=1e-4, rtol=1e-4
        )
    with pytest.raises(WorkbenchError, match="does not fit"):
        teacher_model.load(recipe.model_copy(update={"pooling": "last"}), tmp_path, 2, pad_id=1)


def test_rounding_frozen_matrices_once_changes_no_number(tiny_base):
    torch.manual_seed(0)
    network = teacher_model.build(TeacherRecipe(base_model=str(tiny_base)), LABELS, pad_id=1)
    for name, weight in network.named_parameters():
        if weight.requires_grad and "linear.bias" not in name:
            torch.nn.init.normal_(weight, std=0.1)
    answers = []
    for change in (lambda _: None, teacher_model.round_once):
        change(network)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            answers.append(network(input_ids=torch.tensor([[5, 6, 7, 8]])).logits)
    assert answers[0].std() > 0.01
    torch.testing.assert_close(answers[1], answers[0], atol=1e-6, rtol=0)


def test_the_head_keeps_the_mean_and_deviation_it_was_fitted_to(teacher):
    head = teacher_model.head_of(teacher.model)
    assert head.mean.abs().max() > 0
    assert (head.deviation != 1).any()


def test_two_steps_in_a_row_equal_train_resume_train(tiny_cohort, tiny_recipe, tmp_path):
    """Stopped after two of four steps and resumed, the teacher ends with the same weights."""
    cohort = Cohort.open(tiny_cohort)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    quiet = {"say": lambda text: None}
    pipeline.train_teacher(cohort, tiny_recipe, straight, **quiet)
    pipeline.train_teacher(cohort, tiny_recipe, stopped, **quiet)
    shutil.rmtree(stopped / "checkpoints" / "checkpoint-4")
    shutil.rmtree(stopped / "teacher")
    pipeline.train_teacher(cohort, tiny_recipe, stopped, resume=True, **quiet)
    last = "checkpoints/checkpoint-4/adapter_model.safetensors"
    weights = [load_file(run / last) for run in (straight, stopped)]
    early = load_file(straight / "checkpoints/checkpoint-2/adapter_model.safetensors")
    assert any((weights[0][name] != weight).any() for name, weight in early.items())
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=0, atol=0)


def test_a_checkpoint_cut_off_while_saving_is_passed_over(tiny_cohort, tiny_recipe, tmp_path):
    cohort, run = Cohort.open(tiny_cohort), tmp_path / "run"
    pipeline.train_teacher(cohort, tiny_recipe, run, say=lambda text: None)
    (run / "checkpoints" / "checkpoint-4" / "trainer_state.json").unlink()
    done = pipeline.train_teacher(cohort, tiny_recipe, run, resume=True, say=lambda text: None)
    assert (done / "adapter_model.safetensors").exists()


def test_resuming_another_recipe_is_refused(tiny_run, tiny_cohort, tiny_recipe):
    other = tiny_recipe.model_copy(update={"seed": 99})
    with pytest.raises(WorkbenchError, match="another cohort or recipe"):
        pipeline.train_teacher(Cohort.open(tiny_cohort), other, tiny_run, resume=True)


def test_resuming_nothing_is_said(tiny_cohort, tiny_recipe, tmp_path):
    with pytest.raises(WorkbenchError, match="no checkpoint to resume from"):
        pipeline.train_teacher(Cohort.open(tiny_cohort), tiny_recipe, tmp_path / "new", resume=True)


def test_a_run_leaves_its_losses_and_tensorboard_logs(tiny_run):
    lines = [json.loads(line) for line in (tiny_run / "metrics.jsonl").read_text().splitlines()]
    assert {"teacher", "student", "student_undistilled"} <= {line["stage"] for line in lines}
    assert any("eval_prauc" in line for line in lines)
    assert list(tiny_run.rglob("events.out.tfevents*"))


def test_hidden_states_of_another_teacher_are_refused(tiny_run, tmp_path):
    (tmp_path / "adapter_model.safetensors").write_bytes(b"other")
    with pytest.raises(WorkbenchError, match="another teacher"):
        hidden_states.load(tiny_run, tmp_path)


def test_a_base_model_that_is_none_is_named(tmp_path):
    with pytest.raises(WorkbenchError, match="base_model"):
        base_model.load_tokenizer(str(tmp_path))


def test_a_damaged_base_model_is_named(tmp_path):
    (tmp_path / base_model.RECORD).write_text(json.dumps({"weights_sha256": "0"}))
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(WorkbenchError, match="SHA-256"):
        base_model.check(tmp_path)


def test_recipes_may_name_any_head_of_the_right_width(tiny_base):
    recipe = Recipe(name="any").teacher.model_copy(update={"base_model": str(tiny_base)})
    network = teacher_model.build(recipe, torch.zeros(2, 5), pad_id=1)
    assert network(input_ids=torch.tensor([[1, 2]])).logits.shape == (1, 5)

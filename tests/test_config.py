"""Recipes: every shipped one loads, and a wrong one names its field."""

from pathlib import Path

import pytest

from engine.config import Recipe, load_recipe, save_recipe
from engine.errors import WorkbenchError

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipe_loads_under_its_own_name(path):
    assert load_recipe(path).name == path.stem


def test_quick_and_full_are_shipped():
    assert {"quick", "full"} <= {path.stem for path in RECIPES}


def test_a_saved_recipe_spells_out_its_defaults(tmp_path):
    save_recipe(Recipe(name="small", seed=3), tmp_path / "small.yaml")
    assert "lora_rank: 8" in (tmp_path / "small.yaml").read_text()
    assert load_recipe(tmp_path / "small.yaml") == Recipe(name="small", seed=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nteacher:\n  lora_rnk: 4\n", "teacher.lora_rnk"),
        ("name: x\nteacher:\n  epochs: many\n", "teacher.epochs"),
        ("name: x\nstudent:\n  dropout: 1.5\n", "student.dropout"),
        ("name: x\nteacher:\n  load_in_4bit: true\n  preparation: {}\n", "4-bit weights"),
        ("name: x\nprompt:\n  titles: brief\n", "prompt.titles"),
        ("seed: 1\n", "name"),
        ("- a\n- b\n", "named fields"),
        ("name: [x\n", "YAML"),
    ],
)
def test_a_wrong_recipe_is_refused_with_file_and_field(tmp_path, text, said):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(WorkbenchError) as error:
        load_recipe(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_recipe_says_where_the_shipped_ones_are(tmp_path):
    with pytest.raises(WorkbenchError, match="recipes/"):
        load_recipe(tmp_path / "none.yaml")

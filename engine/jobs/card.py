"""The card of a pair: what it is, how it was made, what it reached, what it is not for."""

from engine.config import Recipe
from engine.evaluation.report import as_markdown
from engine.teacher.base_model import WHEEL

LIMITS = """\
- For research, and for finding out how such models behave. Not a medical device: a clinician
  decides.
- It proposes medication *groups* (ATC third level), never a drug, a dose or a route.
- Diagnoses are coded at discharge and prescriptions cover the whole stay, so in these records the
  models read what is only known after the stay; at admission they will do worse.
- It repeats the habits of the records it learnt from, good and bad.
- A model trained on a synthetic cohort shows that the software works, not that the medicine is
  right.
"""


def render_card(facts: dict, recipe: Recipe, metrics: dict) -> str:
    """Return the card as Markdown, with every evaluation kept in `metrics` so far."""
    cohort, validation = facts["cohort"], metrics["validation"]
    lines = [
        f"# {facts['version']}",
        "",
        f"A teacher (LoRA on base model {_base_name(facts['base_model'])}) and the student "
        f"distilled from it, trained with recipe `{recipe.name}`, seed {recipe.seed}, "
        f"on {facts['created'][:10]}.",
        "",
        f"Training: {cohort['training_visits']:,} visits of {cohort['training_patients']:,} "
        f"patients, cohort `{cohort['fingerprint'][:12]}`. "
        "Early stopping, temperatures and thresholds: validation patients only.",
        "",
        "## Time and hardware",
        "",
        "| stage | seconds | hardware |",
        "|---|---:|---|",
        *(
            f"| {stage} | {values['seconds']:,.0f} | {values['hardware']} |"
            for stage, values in metrics["stages"].items()
        ),
        "",
        f"## Validation ({validation['visits']:,} visits; used to choose, so not a test)",
        "",
        "| model | PRAUC | Jaccard |",
        "|---|---:|---:|",
        *(
            f"| {model.replace('_', ' ')} | {values['prauc']:.4f} | {values['jaccard']:.4f} |"
            for model, values in validation.items()
            if model != "visits"
        ),
        "",
    ]
    for name, report in metrics.get("evaluations", {}).items():
        lines += [f"## Evaluation: {name}", ""]
        settings = report["settings"]
        lines += [
            f"Command: `{settings['command']}`  ",
            f"Hardware: {settings['hardware']}. Date: {settings['date']}. "
            f"Bootstrap seed: {settings['seed']}.",
            "",
        ]
        lines += [as_markdown(report)]
    return "\n".join([*lines, "## Limits", "", LIMITS])


def _base_name(name: str) -> str:
    return f"SmolLM2-135M-Instruct, from the wheel `{WHEEL}`" if name == "default" else f"`{name}`"

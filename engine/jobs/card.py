"""The card of a pair: what it is for, what it was made from, what it reached, what it is not for.

Every number in it comes from the pair's own manifest, recipe and metrics; what was not measured
says so.
"""

from collections.abc import Mapping

from engine.config import EVERY_PROFILE_FIELD, Recipe
from engine.evaluation.equity import SENSITIVE
from engine.evaluation.report import as_markdown
from engine.jobs import card_figures, card_requirements
from engine.teacher.base_model import WHEEL

INTENDED_USE = """\
- **Purpose**: to show, for one hospital stay, which medication groups patients with such a record
  were given, as ranked options with probabilities. It informs a clinician's own decision; it
  gives no directive and replaces no check.
- **Users**: prescribing clinicians and clinical pharmacists, in a browser, beside the record.
- **Patients**: adult inpatients like those of the training data, first-time patients included.
- **Why**: prescribing under time pressure misses what the record says; a language model reads the
  record as text, so that codes it has not seen in training still mean something.
"""
RISKS = """\
- For research, and for finding out how such models behave. Not a medical device: a clinician
  decides. No study of outcomes in use has been done.
- It proposes medication *groups* (ATC third level), never a drug, a dose, a route or a duration.
- Not for children, outpatients, emergencies that do not wait, or stopping a medication: a group
  that is missing from the list is no advice against it.
- Diagnoses are coded at discharge and prescriptions cover the whole stay, so in these records the
  models read what is only known after the stay; at admission they will do worse.
- It repeats the habits of the records it learnt from, good and bad.
- A model trained on a synthetic cohort shows that the software works, not that the medicine is
  right.
"""
MAINTENANCE = """\
- **Local validity**: `python -m engine evaluate COHORT --output FILE --card NAME` measures this
  version on a hospital's own visits, by group, and adds the result to this card.
- **Drift**: the page Performance compares today's inputs with those of training, field by field
  (population stability index); 0.25 or more asks for an evaluation, and for retraining where it
  shows a loss.
- **Updates**: an administrator retrains from the page Retrain. A candidate is compared with the
  version in use, overall and by group, before it can be promoted; where it is clearly worse, only
  with a written reason. Rolling back takes effect within seconds.
- **Schedule**: for the hospital to set; every three months, and after a change of coding or of the
  formulary, is a sensible start.
"""


def render_card(facts: dict, recipe: Recipe, metrics: dict) -> str:
    """Return the card as Markdown, with every evaluation kept in `metrics` so far."""
    evaluations = metrics.get("evaluations", {})
    sections = {
        "In short": _in_short(facts, recipe),
        "Intended use": [INTENDED_USE],
        "Out of scope and risks": [RISKS],
        "Output": _output(recipe),
        "Inputs": _inputs(recipe, evaluations),
        "Training data": _training_data(facts, recipe, metrics),
        "Performance": _performance(metrics, evaluations),
        "Calibration": _calibration(recipe, evaluations),
        "Fairness": _fairness(evaluations),
        "What an answer rests on": card_figures.faithfulness(evaluations),
        "Maintenance": [MAINTENANCE],
        "Version history": _history(facts),
        "Time and hardware": _time(metrics),
        "Where each question is answered": card_requirements.tables(),
    }
    lines = [f"# {facts['version']}", ""]
    for heading, content in sections.items():
        lines += [f"## {heading}", "", *content]
    return "\n".join(lines).rstrip() + "\n"


def _in_short(facts: dict, recipe: Recipe) -> list[str]:
    return [
        f"A teacher (LoRA on base model {_base_name(facts['base_model'])}) that reads the record "
        "as text, and a student distilled from it that reads codes; each gives every medication "
        f"group a probability. Trained with recipe `{recipe.name}` (beside this card), seed "
        f"{recipe.seed}, on {facts['created'][:10]}. Options ranked, never a directive.",
        "",
    ]


def _output(recipe: Recipe) -> list[str]:
    return [
        "A prediction: for each ATC third-level group the probability that it is among the "
        "medications of this stay; a list of those above a threshold that was chosen on "
        "validation patients; and, where the version has a rule for it, a set that holds "
        f"{recipe.coverage:.0%} of what is given on average over patients. Outcome in the data: "
        "the group was prescribed during the stay, whether rightly or not.",
        "",
    ]


def _inputs(recipe: Recipe, evaluations: Mapping) -> list[str]:
    used = [name for name in EVERY_PROFILE_FIELD if name in recipe.prompt.profile]
    unused = [name for name in EVERY_PROFILE_FIELD if name not in used]
    sensitive = [name for name in SENSITIVE if name in used]
    return [
        "Diagnoses and procedures of the stay (ICD-9 and ICD-10), diagnoses, procedures and "
        "medication groups of earlier stays, and of the person: "
        f"{_listed(used) or 'nothing'}. Not used: {_listed(unused) or 'none of those known'}. "
        "What is not on record is read as such; nothing is filled in.",
        "",
        f"Used of race, language, insurance and sex: {_listed(sensitive) or 'none'}. Each can be "
        "left out by a line of the recipe.",
        "",
        *(card_figures.left_out(evaluations) if sensitive else []),
    ]


def _training_data(facts: dict, recipe: Recipe, metrics: dict) -> list[str]:
    cohort = facts["cohort"]
    samples = "all of them" if recipe.data.samples == "every" else "the last of each patient"
    return [
        f"{cohort['training_visits']:,} visits of {cohort['training_patients']:,} patients, cohort "
        f"`{cohort['fingerprint'][:12]}`; split by patient. Included: stays with a diagnosis and a "
        f"mapped medication on record ({samples}). Excluded: stays without either, drugs that map "
        "to no ATC group. The cohort's quality report counts what was left out, at every step.",
        "",
        "Whether these patients resemble those in front of the user is for the hospital to judge:",
        "",
        *card_figures.training_shares(metrics.get("inputs")),
    ]


def _performance(metrics: dict, evaluations: Mapping) -> list[str]:
    validation = metrics["validation"]
    lines = [
        "Early stopping, calibration and thresholds come from validation patients alone; no test "
        "patient was used to choose anything. Intervals are 95 %, over patients (bootstrap).",
        "",
        f"### Validation ({validation['visits']:,} visits; used to choose, so not a test)",
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
    for name, report in evaluations.items():
        settings = report["settings"]
        lines += [
            f"### Evaluation: {name}",
            "",
            f"Command: `{settings['command']}`  ",
            f"Hardware: {settings['hardware']}. Date: {settings['date']}. "
            f"Bootstrap seed: {settings['seed']}.",
            "",
            as_markdown(report),
        ]
    return lines


def _calibration(recipe: Recipe, evaluations: Mapping) -> list[str]:
    return [
        "Groups are rare or common by nature: no class is reweighted unless the recipe says so, "
        f"and probabilities are calibrated on validation patients ({recipe.calibration}).",
        "",
        *card_figures.calibration(evaluations),
    ]


def _fairness(evaluations: Mapping) -> list[str]:
    return [
        "No constraint of fairness is trained. What is done: every group of ten patients or more "
        "is measured, a candidate that is clearly worse on a guarded line is not promoted without "
        "a written reason, and each sensitive input can be left out. Wide intervals mean few "
        "patients: no difference shown is no proof of none.",
        "",
        *card_figures.by_group(evaluations),
    ]


def _history(facts: dict) -> list[str]:
    return [
        f"- {facts['created'][:16].replace('T', ' ')} UTC: {facts['version']}, immutable since; "
        "the registry (`python -m engine registry list`) knows when it came into use and what it "
        "replaced.",
        "",
    ]


def _time(metrics: dict) -> list[str]:
    return [
        "| stage | seconds | hardware |",
        "|---|---:|---|",
        *(
            f"| {stage} | {values['seconds']:,.0f} | {values['hardware']} |"
            for stage, values in metrics["stages"].items()
        ),
        "",
    ]


def _listed(names: list[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


def _base_name(name: str) -> str:
    return f"SmolLM2-135M-Instruct, from the wheel `{WHEEL}`" if name == "default" else f"`{name}`"

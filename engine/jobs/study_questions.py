"""The models of each question, named without computing anything."""

from engine.config import Recipe
from engine.jobs.study_baselines import BASELINES, baseline_class
from engine.jobs.study_levers import plan_levers
from engine.jobs.study_models import Workshop
from engine.jobs.study_plan import QUESTIONS, Plan, Setting, edited, student, undistilled


def make_plan(setting: Setting, workshop: Workshop) -> Plan:
    """Name every model of the questions asked, without computing anything."""
    plan = Plan()
    if "rq1" in setting.only or "rq4" in setting.only:
        compared = _compared(setting, workshop, plan)
        for question in ("rq1", "rq4"):
            if question in setting.only:
                plan.questions[question] = {"models": compared}
    if "rq2" in setting.only:
        plan.questions["rq2"] = _ablations(setting, workshop, plan)
    if "rq3" in setting.only:
        plan.questions["rq3"] = {
            "alpha": _grid(setting, workshop, plan, "alpha", "distillation_weight", setting.alphas),
            "beta": _grid(setting, workshop, plan, "beta", "alignment_weight", setting.betas),
        }
    if "rq5" in setting.only:
        plan.questions["rq5"] = plan_levers(setting, workshop, plan)
    plan.not_measured += [
        f"{question.upper()}: not asked for"
        for question in QUESTIONS
        if question not in setting.only
    ]
    return plan


def _compared(setting: Setting, workshop: Workshop, plan: Plan) -> list[str]:
    names = [
        plan.add("teacher", "Teacher", [workshop.teacher(setting.recipe)]),
        student(setting, workshop, plan),
        undistilled(setting, workshop, plan),
    ]
    for name, baseline in BASELINES.items():
        if baseline_class(baseline) is None:
            plan.not_measured.append(f"{baseline.title}: not part of this version")
            continue
        seeds = range(setting.seeds if baseline.seeded else 1)
        parts = [workshop.baseline(name, seed) for seed in seeds]
        names.append(plan.add(name, baseline.title, parts, baseline.claims))
    return names


def _ablations(setting: Setting, workshop: Workshop, plan: Plan) -> dict:
    """Take one piece out at a time; what the teacher reads changes only with `teachers`."""
    recipe = setting.recipe
    names = [student(setting, workshop, plan), undistilled(setting, workshop, plan)]
    if recipe.teacher.linear_path:
        names.append(plan.add("teacher", "Teacher", [workshop.teacher(recipe)]))
        for half in ("language_model", "linear_path"):
            said = f"Teacher, its {half.replace('_', ' ')} alone"
            names.append(plan.add(f"teacher_{half}", said, [workshop.teacher_half(half)]))

    def ablate(name: str, title: str, changed: Recipe, reads_less: bool) -> None:
        retrain = reads_less and setting.teachers
        teacher = f"teacher_{name}" if retrain else "teacher"
        if retrain:
            part = workshop.teacher(changed, teacher)
            names.append(plan.add(teacher, f"Teacher, {title}", [part]))
        taught_by = changed if retrain else None
        parts = [
            workshop.student(changed, seed, name, True, teacher, taught_by)
            for seed in range(setting.seeds)
        ]
        same = reads_less and not retrain
        said = f"Student, {title}" + (" (same teacher)" if same else "")
        names.append(plan.add(name, said, parts))

    ablate("no_alignment", "no alignment", edited(recipe, student={"alignment_weight": 0.0}), False)
    ablate("no_profile", "no profile", edited(recipe, prompt={"profile": ()}), True)
    without = edited(recipe, prompt={"history": False}, student={"max_history": 0})
    ablate("no_history", "no history", without, True)
    if setting.teachers:
        ablate("no_semantics", "codes for titles", edited(recipe, prompt={"titles": "code"}), True)
    else:
        plan.not_measured.append(
            "RQ2, teachers without profile, without history, and with codes for titles, and the "
            "students of these: each needs a teacher trained anew (--teachers)"
        )
    return {"models": names}


def _grid(
    setting: Setting, workshop: Workshop, plan: Plan, letter: str, weight: str, values: tuple
) -> list[dict]:
    """One student a value and a seed; the recipe's own value is the student of the other tables."""
    own = getattr(setting.recipe.student, weight)
    seeds = range(setting.grid_seeds or setting.seeds)
    rows = []
    for value in sorted({*values, own}):
        if value == own:
            name = student(setting, workshop, plan)
        else:
            name = f"{letter}_{value:g}"
            changed = edited(setting.recipe, student={weight: value})
            parts = [workshop.student(changed, seed, name) for seed in seeds]
            plan.add(name, f"Student, {letter} = {value:g}", parts)
        rows.append({"value": value, "model": name})
    return rows


def compared_pairs(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    """Return question → the models whose difference is told, the first minus the second."""
    found = {}
    if "rq1" in plan.questions:
        others = [name for name in plan.questions["rq1"]["models"] if name in BASELINES]
        found["rq1"] = [
            ("teacher", "student"),
            ("student", "student_undistilled"),
            *(("teacher", other) for other in others),
            *(("student", other) for other in others),
        ]
    if "rq2" in plan.questions:
        whole = ("student", "teacher")
        ablated = [name for name in plan.questions["rq2"]["models"] if name not in whole]
        found["rq2"] = [
            ("teacher" if name.startswith("teacher_") else "student", name)
            for name in ablated
            if not name.startswith("teacher_") or "teacher" in plan.models
        ]
    if "rq5" in plan.questions:
        found["rq5"] = plan.questions["rq5"]["against"]
    return found

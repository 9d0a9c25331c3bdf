"""RQ5, levers beyond the paper: every one switched alone against the recipe.

A lever that the recipe has on is switched off, and the other way round.
"""

from dataclasses import dataclass

from engine.config import PreparationRecipe, Recipe
from engine.evaluation import tradeoff
from engine.jobs.study_models import Workshop
from engine.jobs.study_plan import Plan, Setting, edited, student, undistilled

_LAST = {"samples": "last"}


@dataclass(frozen=True)
class Lever:
    """One change of a recipe."""

    name: str
    title: str
    sections: dict[str, dict]  # section of the recipe → its changed fields

    def of(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this lever switched."""
        return edited(recipe, **self.sections)


def student_levers(recipe: Recipe) -> list[Lever]:
    """Return the levers that need no other word of the teacher's than the recipe's student."""
    own = recipe.student
    levers = [
        _linear_path(recipe),
        Lever(
            "logits",
            "without the teacher's answers" if own.logit_weight else "with the teacher's answers",
            {"student": {"logit_weight": 0.0 if own.logit_weight else 1.0}},
        ),
        Lever(
            "titles",
            "codes not from titles" if own.embeddings_from_teacher else "codes from their titles",
            {"student": {"embeddings_from_teacher": not own.embeddings_from_teacher}},
        ),
    ]
    if own.linear_path and recipe.teacher.linear_path:
        start = own.linear_path_from_teacher
        said = "linear path from nothing" if start else "linear path from the teacher's"
        levers.append(
            Lever(
                "path_start", said, {"student": {"linear_path_from_teacher": 0.0 if start else 1.0}}
            )
        )
    if own.unlabelled:
        levers.append(Lever("copies", "without altered visits", {"student": {"unlabelled": 0}}))
    if recipe.data.samples == "every":
        levers.append(Lever("last", "each patient's last visit only", {"data": _LAST}))
    return levers


def teacher_levers(recipe: Recipe) -> list[Lever]:
    """Return the levers for each of which a teacher is trained anew."""
    own, prompt = recipe.teacher, recipe.prompt
    titles = "short" if prompt.titles == "long" else "long"
    order = "medications_first" if prompt.order == "recent" else "recent"
    weighting = "none" if own.class_weighting == "sqrt" else "sqrt"
    smoothing = 0.0 if own.label_smoothing else 0.05
    focal = 0.0 if own.focal_gamma else 1.0
    pooling = "last" if own.pooling == "last_and_mean" else "last_and_mean"
    rank = own.lora_rank // 2
    scale = {"lora_rank": rank, "lora_alpha": max(1, own.lora_alpha * rank // own.lora_rank)}
    first = "medications" if order == "medications_first" else "latest visit"
    prepared = None if own.preparation else PreparationRecipe().model_dump()
    levers = [
        Lever(
            "class_weighting",
            "rare groups weigh more" if weighting == "sqrt" else "all groups weigh the same",
            {"teacher": {"class_weighting": weighting}},
        ),
        Lever(
            "label_smoothing",
            f"softened labels ({smoothing:g})" if smoothing else "labels not softened",
            {"teacher": {"label_smoothing": smoothing}},
        ),
        Lever(
            "focal_gamma",
            f"hard cases weigh more ({focal:g})" if focal else "hard cases weigh the same",
            {"teacher": {"focal_gamma": focal}},
        ),
        Lever("pooling", _pooling(pooling), {"teacher": {"pooling": pooling}}),
        Lever("long_short", f"{titles} code titles", {"prompt": {"titles": titles}}),
        Lever("order", f"{first} first in the prompt", {"prompt": {"order": order}}),
    ]
    if not own.load_in_4bit:  # 4-bit weights cannot be prepared
        said = "not prepared" if own.preparation else "prepared on terminology"
        levers.append(Lever("preparation", said, {"teacher": {"preparation": prepared}}))
    if rank:
        said = f"adapters of rank {rank}, not {own.lora_rank}"
        levers.append(Lever("lora_rank", said, {"teacher": scale}))
    if recipe.data.samples == "every":
        levers.append(Lever("last", "each patient's last visit only", {"data": _LAST}))
    return levers


def plan_levers(setting: Setting, workshop: Workshop, plan: Plan) -> dict:
    """Name the models of RQ5, and which is held against which."""
    recipe, seeds = setting.recipe, range(setting.seeds)
    reference, untaught = student(setting, workshop, plan), undistilled(setting, workshop, plan)
    students, against = [reference], []

    def switch(lever: Lever) -> None:
        name = f"lever_{lever.name}"
        parts = [workshop.student(lever.of(recipe), seed, name) for seed in seeds]
        students.append(plan.add(name, f"Student, {lever.title}", parts))
        against.append((name, reference))

    for lever in student_levers(recipe):
        switch(lever)
    if recipe.student.unlabelled == 0:
        if setting.teachers:
            switch(Lever("copies", "with altered visits", {"student": {"unlabelled": 1}}))
        else:
            plan.not_measured.append(
                "RQ5, student with altered visits: its teacher has to read them (--teachers)"
            )
    students += [untaught, _undistilled_path(setting, workshop, plan)]
    against += [(untaught, reference), (students[-1], reference), (students[-1], untaught)]
    teachers = _teachers(setting, workshop, plan)
    against += [(name, "teacher") for name in teachers[1:]]
    return {
        "students": students,
        "teachers": teachers,
        "tradeoff": _tradeoff(setting, workshop, plan),
        "against": against,
    }


def _linear_path(recipe: Recipe) -> Lever:
    own = recipe.student.linear_path
    said = "without the linear path" if own else "with a linear path"
    switched = {"linear_path": not own, "linear_path_from_teacher": 0.0}
    return Lever("linear_path", said, {"student": switched})


def _pooling(pooling: str) -> str:
    return "last token only" if pooling == "last" else "mean of the prompt beside its last token"


def _undistilled_path(setting: Setting, workshop: Workshop, plan: Plan) -> str:
    """The linear path switched without a teacher: what it gives by itself."""
    lever, name = _linear_path(setting.recipe), "lever_undistilled_linear_path"
    recipe = lever.of(setting.recipe)
    parts = [workshop.student(recipe, seed, name, False) for seed in range(setting.seeds)]
    return plan.add(name, f"Student, not distilled, {lever.title}", parts)


def _teachers(setting: Setting, workshop: Workshop, plan: Plan) -> list[str]:
    levers = teacher_levers(setting.recipe)
    if not setting.teachers:
        said = ", ".join(lever.title for lever in levers)
        plan.not_measured.append(
            f"RQ5, teachers ({said}): each needs a teacher trained anew (--teachers)"
        )
        return []
    names = [plan.add("teacher", "Teacher", [workshop.teacher(setting.recipe)])]
    for lever in levers:
        name = f"teacher_lever_{lever.name}"
        part = workshop.teacher(lever.of(setting.recipe), name, lessons=False)
        names.append(plan.add(name, f"Teacher, {lever.title}", [part]))
    return names


def _tradeoff(setting: Setting, workshop: Workshop, plan: Plan) -> list[dict]:
    """One student a strength of the loss on interactions, with the first seed each."""
    rows = []
    for weight, target in ((0.0, None), *setting.interaction_losses):
        options = {"interaction_weight": weight, "interaction_target": target}
        title = tradeoff.Setting(weight, target).title
        recipe = edited(setting.recipe, student=options)
        own = recipe.student == setting.recipe.student
        name = "student" if own else f"interaction_{weight:g}_{target or 0:g}"
        model = plan.add(
            f"first_{name}", f"Student, first seed, {title}", [workshop.student(recipe, 0, name)]
        )
        rows.append({"weight": weight, "target": target, "title": title, "model": model})
    return rows

"""What a study's report says: sections of words and tables, made from the numbers alone."""

from dataclasses import dataclass

from engine.evaluation.subgroups import title
from engine.jobs.published import PUBLIC
from engine.jobs.study_tables import (
    METRICS,
    NOT_MEASURED,
    Table,
    batches_text,
    beside,
    compared,
    cost_cells,
    group_table,
    interval_text,
    lever_table,
    metric_cells,
    model_title,
    name_in_text,
    overall_mean,
    overall_table,
    paired_table,
    signed_text,
    tradeoff_table,
    verdict,
)


@dataclass(frozen=True)
class Section:
    """A question with its answer in words, charts by name, and tables."""

    key: str
    title: str
    words: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    figures: tuple[str, ...] = ()


def headline(report: dict) -> str:
    """Return the study in a line."""
    overall = report["counts"]["overall"]
    models = [name for name in report["models"] if overall_mean(report, name) is not None]
    if not models:
        return "A study without a model"
    best = max(models, key=lambda name: overall_mean(report, name))
    return (
        f"{report['models'][best]['title']} ranks best: PRAUC {overall_mean(report, best):.3f} on "
        f"{overall['visits']:,} visits of {overall['patients']:,} patients"
    )


def sections(report: dict) -> list[Section]:
    """Return every section, in reading order; a question not asked says so."""
    made = [Section("summary", "In words", _words(report)), _glossary()]
    if "folds" in report["questions"]:
        made.append(_folds(report))
    else:
        made += [_rq1(report), _rq2(report), _rq3(report), _rq4(report), _rq5(report)]
        made.append(_calibration(report))
    made.append(_demographics(report))
    made.append(_public(report))
    made.append(_left_out(report))
    return made


def public_table() -> Table:
    """Return the published figures."""
    rows = [
        [
            name,
            source,
            *(NOT_MEASURED if value is None else f"{value:.4f}" for value in values),
        ]
        for name, source, *values in PUBLIC
    ]
    return Table("Published figures", ["Model", "Data", "PRAUC", "Jaccard", "F1"], rows)


def _words(report: dict) -> tuple[str, ...]:
    """Say who leads, by how much, and how sure that is."""
    models, counts = report["models"], report["counts"]
    said = [
        f"Measured on {counts['overall']['visits']:,} visits of "
        f"{counts['overall']['patients']:,} patients, of which {counts['first_visit']['visits']:,} "
        "are first visits. In brackets: "
        f"{report['settings']['confidence']:.0%} intervals from "
        f"{report['settings']['resamples']:,} resamples of patients; models with several seeds "
        "are averaged over them, ± is the standard deviation between seeds.",
        f"Interaction rates are of {report['interactions']}.",
    ]
    ranked = sorted(
        (name for name in compared(report) if overall_mean(report, name) is not None),
        key=lambda name: -overall_mean(report, name),
    )
    if ranked:
        places = ", ".join(
            f"{name_in_text(models, name)} {overall_mean(report, name):.3f}" for name in ranked
        )
        said.append(f"By PRAUC, best first: {places}.")
    for key, question in report["questions"].items():
        if key == "rq5":
            continue  # it tells its own: every lever would be a sentence here
        told = [
            row
            for row in (question.get("paired") or [])
            if (row["group"], row["metric"]) == ("overall", "prauc")
        ]
        for leader in dict.fromkeys(row["a"] for row in told):
            said.append(_standing(models, leader, [row for row in told if row["a"] == leader]))
    return tuple(said)


def _glossary() -> Section:
    words = (
        "PRAUC: the area under the curve of precision against recall, from 0 to 1; high where the "
        "medications that were prescribed rank first. Jaccard: of the medications recommended or "
        "prescribed, the share that is both. F1: twice the shared ones, over those recommended "
        "plus those prescribed.",
        "Medications are third-level groups of ATC, the Anatomical Therapeutic Chemical "
        "classification of the World Health Organization. Interaction rate: of the pairs of groups "
        "recommended together, the share that interacts.",
        "Teacher: a language model that reads the record as text. Student: a small network over "
        "codes that learns from the prescriptions and from the teacher (distillation). Alignment: "
        "a loss that ties what the student reads of the person to what it reads of the medications "
        "given. RETAIN and GAMENet: published recommenders, rebuilt from their papers. RQ: "
        "research question.",
    )
    return Section("glossary", "What the words mean", words)


def _standing(models: dict, leader: str, rows: list[dict]) -> str:
    """Say whom a model beats, to whom it loses, and from whom it cannot be told apart."""
    found: dict[str, list[str]] = {"above": [], "below": [], "unsure": []}
    for row in rows:
        name = name_in_text(models, row["b"])
        if row["low"] is None:
            found["unsure"].append(name)
            continue
        interval = f"{signed_text(row['low'])} to {signed_text(row['high'])}"
        found[verdict(row)].append(f"{name} {signed_text(row['difference'])} ({interval})")
    beginnings = {
        "above": "ranks clearly above",
        "below": "ranks clearly below",
        "unsure": "cannot be told apart (the interval holds zero) from",
    }
    clauses = [
        f"{beginnings[verdict]} {'; '.join(names)}" for verdict, names in found.items() if names
    ]
    return f"{models[leader]['title']}, by PRAUC overall: {'. It '.join(clauses)}."


def _rq1(report: dict) -> Section:
    question = report["questions"].get("rq1")
    if question is None:
        return _not_asked("rq1", "RQ1: How do the models compare?")
    names = question["models"]
    tables = [
        overall_table(report, names),
        *(group_table(report, names, metric) for metric in ("prauc", "jaccard")),
        *(paired_table(report, question["paired"], metric) for metric in ("prauc", "jaccard")),
    ]
    words = (
        "Every model learns from the same training patients and settles thresholds on the same "
        "validation patients. Added medications: only groups that the previous visit did not "
        "have, where copying the past does not help. Rare leading diagnosis: not among the codes "
        "that make up 80 % of training mentions.",
    )
    return Section(
        "rq1", "RQ1: How do the models compare?", words, tuple(tables), ("compared", "groups")
    )


def _rq2(report: dict) -> Section:
    heading = "RQ2: What is each piece of the method worth?"
    question = report["questions"].get("rq2")
    if question is None:
        return _not_asked("rq2", heading)
    names = question["models"]
    words = (
        "One piece is taken out at a time. “Same teacher” means that the student lost the piece "
        "and its teacher did not.",
    )
    tables = (
        group_table(report, names, "prauc"),
        group_table(report, names, "jaccard"),
        paired_table(report, question["paired"], "prauc"),
    )
    return Section("rq2", heading, words, tables, ("ablations",))


def _rq3(report: dict) -> Section:
    heading = "RQ3: How do the weights of the losses matter?"
    question = report["questions"].get("rq3")
    if question is None:
        return _not_asked("rq3", heading)
    tables = []
    for letter, meaning in (("alpha", "distillation"), ("beta", "alignment")):
        names = [row["model"] for row in question[letter]]
        rows = [
            [f"{row['value']:g}", *(metric_cells(report, row["model"], "overall")[:3])]
            for row in question[letter]
        ]
        header = [f"{letter} ({meaning})", *list(METRICS.values())[:3]]
        tables.append(Table(f"Weight of the {meaning} loss", header, rows, beside(report, names)))
    trained = {len(report["models"][row["model"]]["runs"]) for row in question["alpha"]}
    words = ["The other weight stays as the recipe has it."]
    if len(trained) > 1:
        words.append(
            f"The recipe's own weights are averaged over {max(trained)} seeds, the others over "
            f"{min(trained)}."
        )
    return Section("rq3", heading, tuple(words), tuple(tables), ("weights",))


def _rq4(report: dict) -> Section:
    heading = "RQ4: What does each model cost?"
    question = report["questions"].get("rq4")
    if question is None:
        return _not_asked("rq4", heading)
    rows = [cost_cells(report, name) for name in question["models"]]
    header = [
        "Model",
        "Parameters",
        "of which trained",
        "Weights, MB",
        "One visit, ms",
        "A visit of a batch, ms",
        "Threads",
        "Training, s",
    ]
    words = (
        "Latency is the median of one visit alone, prompt included, and the mean of a visit in a "
        f"batch ({batches_text(report, question['models'])}), on as many threads of the machine "
        f"named below as the table says{_meanwhile(report)}.",
    )
    table = Table("Cost", header, rows, beside(report, question["models"]))
    return Section("rq4", heading, words, (table,), ("cost",))


def _meanwhile(report: dict) -> str:
    workers = report["settings"]["workers"]
    if workers == 1:
        return ", while nothing else of the study ran"
    return (
        f"; the study computed up to {workers} parts at once (only the teacher's had the machine "
        "to itself), which makes latency and training time longer than alone"
    )


def _rq5(report: dict) -> Section:
    heading = "RQ5: What do levers beyond the paper give?"
    question = report["questions"].get("rq5")
    if question is None:
        return _not_asked("rq5", heading)
    paired, students, teachers = question["paired"], question["students"], question["teachers"]
    words = [
        "Each lever is switched alone, against the recipe: what the recipe has is taken away, what "
        "it has not is added. ▲ marks a difference whose interval lies above zero, ▼ one whose "
        "interval lies below; without a mark the interval holds zero.",
        "Linear path: one weight from each code straight to each medication group. The teacher's "
        "answers: the student also learns the chance that the teacher gives each group. Codes from "
        "their titles: a code starts as the teacher reads its title. Altered visits: copies with "
        "some codes dropped or exchanged, for which only the teacher's word is learnt.",
        *(
            _levers_in_words(report, [row for row in paired if row["b"] == reference], reference)
            for reference in dict.fromkeys(row["b"] for row in paired)
        ),
        "Loss on interactions: training lowers the expected share of interacting pairs among what "
        "is recommended, as strongly as its weight says, down to its target.",
    ]
    tables = [group_table(report, students, metric) for metric in ("prauc", "jaccard")]
    taught = [row for row in paired if row["b"] != "teacher"]
    tables += [lever_table(report, taught, metric) for metric in ("prauc", "jaccard")]
    if teachers:
        of_teachers = [row for row in paired if row["b"] == "teacher"]
        tables += [group_table(report, teachers, metric) for metric in ("prauc", "jaccard")]
        tables += [lever_table(report, of_teachers, metric) for metric in ("prauc", "jaccard")]
    tables.append(tradeoff_table(report, question["tradeoff"]))
    return Section("rq5", heading, tuple(words), tuple(tables), ("levers", "tradeoff"))


def _levers_in_words(report: dict, rows: list[dict], reference: str) -> str:
    """Say which levers help, which harm, and which cannot be told from the reference."""
    models, said = report["models"], []
    for metric in ("prauc", "jaccard"):
        found: dict[str, list[str]] = {"above": [], "below": [], "unsure": []}
        for row in rows:
            if (row["group"], row["metric"]) == ("overall", metric):
                found[verdict(row)].append(name_in_text(models, row["a"]))
        beginnings = {
            "above": "clearly better",
            "below": "clearly worse",
            "unsure": "not told apart (the interval holds zero)",
        }
        clauses = [
            f"{beginnings[key]}: {'; '.join(names)}" for key, names in found.items() if names
        ]
        said.append(f"by {METRICS[metric]} overall, {'. '.join(clauses)}")
    return f"Against {name_in_text(models, reference)}, {'. And '.join(said)}."


def _calibration(report: dict) -> Section:
    heading = "Calibration: does what a model says come true?"
    names = list(report["reliability"])
    if not names:
        return _not_asked("calibration", heading)
    words = (
        "All pairs of visit and medication group fall into bins by the probability that a model "
        "gave. On the dashed line, what was said is what came true. The calibration error is the "
        "distance from that line, averaged over the pairs (expected calibration error): 0.03 means "
        "three percentage points. Several seeds lie in the same bins.",
    )
    table = group_table(report, names, "expected_calibration_error")
    return Section("calibration", heading, words, (table,), ("reliability",))


def _folds(report: dict) -> Section:
    question = report["questions"]["folds"]
    names = question["models"]
    words = (
        f"{question['folds']} folds by patient: every visit is predicted by models that saw "
        "neither the visit nor its patient. Of the other folds' patients, one in five decides "
        "when to stop and sets calibration and threshold; the rest tunes. “As shipped” is the "
        "given pair with its own threshold.",
    )
    tables = (
        overall_table(report, names),
        group_table(report, names, "prauc"),
        group_table(report, names, "jaccard"),
        paired_table(report, question["paired"], "prauc"),
        paired_table(report, question["paired"], "jaccard"),
    )
    heading = "How well does the pair adapt to this hospital?"
    return Section("folds", heading, words, tables, ("compared", "groups"))


def _demographics(report: dict) -> Section:
    groups = [group for group in report["counts"] if ": " in group]
    names = [name for name in compared(report) if name in report["models"]][:3]
    if not groups or not names:
        words = (f"Demographic groups: {NOT_MEASURED} (none with ten patients).",)
        return Section("demographics", "Demographic groups", words)
    rows = [
        [
            title(group),
            f"{report['counts'][group]['visits']:,}",
            *(
                interval_text(report["models"][name]["groups"][group]["prauc"], "prauc")
                for name in names
            ),
        ]
        for group in groups
    ]
    header = ["Group", "Visits", *(f"{model_title(report, name)}, PRAUC" for name in names)]
    words = ("Groups of fewer than ten patients are left out.",)
    table = Table("PRAUC by demographic group", header, rows, beside(report, names))
    return Section("demographics", "Demographic groups", words, (table,))


def _public(report: dict) -> Section:
    words = (
        "These figures are from other data: the full MIMIC-III and MIMIC-IV, patients with at "
        "least two admissions. They may be read beside a study of that cohort "
        "(ingested and run with --preset paper), and not beside one of any other.",
    )
    return Section("public", "Figures of the literature", words, (public_table(),))


def _left_out(report: dict) -> Section:
    missing = report["not_measured"]
    words = tuple(f"{text}: {NOT_MEASURED}." for text in missing)
    return Section("not-measured", "What was not run", words or ("Everything was run.",))


def _not_asked(key: str, heading: str) -> Section:
    return Section(key, heading, (f"{NOT_MEASURED.capitalize()} in this study.",))

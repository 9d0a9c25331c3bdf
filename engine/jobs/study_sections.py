"""What a study's report says: sections of words and tables, made from the numbers alone."""

from dataclasses import dataclass

from engine.evaluation.subgroups import ADDED, title
from engine.jobs.published import PUBLIC

METRICS = {
    "prauc": "PRAUC",
    "jaccard": "Jaccard",
    "f1": "F1",
    "medications": "Medications",
    "interaction_rate": "Interaction rate",
    "expected_calibration_error": "Calibration error",
}
GROUPS = ("overall", "first_visit", "returning", ADDED, "rare_diagnosis", "unseen_code")
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Table:
    """Names to the left, numbers to the right; `beside` says where they came from."""

    title: str
    header: list[str]
    rows: list[list[str]]
    beside: tuple[str, ...] = ()


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
    models = [name for name in report["models"] if _mean(report, name) is not None]
    if not models:
        return "A study without a model"
    best = max(models, key=lambda name: _mean(report, name))
    return (
        f"{report['models'][best]['title']} ranks best: PRAUC {_mean(report, best):.3f} on "
        f"{overall['visits']:,} visits of {overall['patients']:,} patients"
    )


def sections(report: dict) -> list[Section]:
    """Return every section, in reading order; a question not asked says so."""
    made = [Section("summary", "In words", _words(report))]
    if "folds" in report["questions"]:
        made.append(_folds(report))
    else:
        made += [_rq1(report), _rq2(report), _rq3(report), _rq4(report)]
    made.append(_demographics(report))
    made.append(_public(report))
    made.append(_left_out(report))
    return made


def public_table() -> Table:
    """Return the published figures."""
    rows = [
        [name, source, *(NOT_MEASURED if value is None else f"{value:.4f}" for value in values)]
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
        (name for name in _compared(report) if _mean(report, name) is not None),
        key=lambda name: -_mean(report, name),
    )
    if ranked:
        places = ", ".join(f"{_named(models, name)} {_mean(report, name):.3f}" for name in ranked)
        said.append(f"By PRAUC, best first: {places}.")
    for question in report["questions"].values():
        told = [
            row
            for row in (question.get("paired") or [])
            if (row["group"], row["metric"]) == ("overall", "prauc")
        ]
        for leader in dict.fromkeys(row["a"] for row in told):
            said.append(_standing(models, leader, [row for row in told if row["a"] == leader]))
    return tuple(said)


def _standing(models: dict, leader: str, rows: list[dict]) -> str:
    """Say whom a model beats, to whom it loses, and from whom it cannot be told apart."""
    found: dict[str, list[str]] = {"above": [], "below": [], "unsure": []}
    for row in rows:
        name = _named(models, row["b"])
        if row["low"] is None:
            found["unsure"].append(name)
            continue
        interval = f"{_signed(row['low'])} to {_signed(row['high'])}"
        verdict = "above" if row["low"] > 0 else "below" if row["high"] < 0 else "unsure"
        found[verdict].append(f"{name} {_signed(row['difference'])} ({interval})")
    beginnings = {
        "above": "ranks clearly above",
        "below": "ranks clearly below",
        "unsure": "cannot be told apart (the interval holds zero) from",
    }
    clauses = [
        f"{beginnings[verdict]} {'; '.join(names)}" for verdict, names in found.items() if names
    ]
    return f"{models[leader]['title']}, by PRAUC overall: {'. It '.join(clauses)}."


def _named(models: dict, name: str) -> str:
    found = models[name]["title"]
    return (
        found if found[:2].isupper() or found.startswith("GAME") else found[0].lower() + found[1:]
    )


def _rq1(report: dict) -> Section:
    question = report["questions"].get("rq1")
    if question is None:
        return _not_asked("rq1", "RQ1: How do the models compare?")
    names = question["models"]
    tables = [
        _overall_table(report, names),
        *(_group_table(report, names, metric) for metric in ("prauc", "jaccard")),
        *(_paired_table(report, question["paired"], metric) for metric in ("prauc", "jaccard")),
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
        _group_table(report, names, "prauc"),
        _group_table(report, names, "jaccard"),
        _paired_table(report, question["paired"], "prauc"),
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
            [f"{row['value']:g}", *(_cells(report, row["model"], "overall")[:3])]
            for row in question[letter]
        ]
        header = [f"{letter} ({meaning})", *list(METRICS.values())[:3]]
        tables.append(Table(f"Weight of the {meaning} loss", header, rows, _beside(report, names)))
    words = ("The other weight stays as the recipe has it.",)
    return Section("rq3", heading, words, tuple(tables), ("weights",))


def _rq4(report: dict) -> Section:
    heading = "RQ4: What does each model cost?"
    question = report["questions"].get("rq4")
    if question is None:
        return _not_asked("rq4", heading)
    rows = [_cost(report, name) for name in question["models"]]
    header = [
        "Model",
        "Parameters",
        "of which trained",
        "Weights, MB",
        "One visit, ms",
        "A visit of a batch, ms",
        "Training, s",
    ]
    words = (
        "Latency is the median of one visit alone, prompt included, and the mean of a visit in a "
        f"batch ({_batches(report, question['models'])}), on {report['settings']['threads']} "
        "threads of the machine named below, while nothing else of the study ran.",
    )
    table = Table("Cost", header, rows, _beside(report, question["models"]))
    return Section("rq4", heading, words, (table,), ("cost",))


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
        _overall_table(report, names),
        _group_table(report, names, "prauc"),
        _group_table(report, names, "jaccard"),
        _paired_table(report, question["paired"], "prauc"),
        _paired_table(report, question["paired"], "jaccard"),
    )
    heading = "How well does the pair adapt to this hospital?"
    return Section("folds", heading, words, tables, ("compared", "groups"))


def _demographics(report: dict) -> Section:
    groups = [group for group in report["counts"] if ": " in group]
    names = [name for name in _compared(report) if name in report["models"]][:3]
    if not groups or not names:
        words = (f"Demographic groups: {NOT_MEASURED} (none with ten patients).",)
        return Section("demographics", "Demographic groups", words)
    rows = [
        [
            title(group),
            f"{report['counts'][group]['visits']:,}",
            *(
                _interval(report["models"][name]["groups"][group]["prauc"], "prauc")
                for name in names
            ),
        ]
        for group in groups
    ]
    header = ["Group", "Visits", *(f"{_title(report, name)}, PRAUC" for name in names)]
    words = ("Groups of fewer than ten patients are left out.",)
    table = Table("PRAUC by demographic group", header, rows, _beside(report, names))
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


def _compared(report: dict) -> list[str]:
    for question in ("rq1", "folds", "rq4", "rq2"):
        if question in report["questions"]:
            return report["questions"][question]["models"]
    return list(report["models"])


def _overall_table(report: dict, names: list[str]) -> Table:
    rows = [[_title(report, name), *_cells(report, name, "overall")] for name in names]
    rows.append(_truth(report, "overall"))
    return Table("Overall", ["Model", *METRICS.values()], rows, _beside(report, names))


def _group_table(report: dict, names: list[str], metric: str) -> Table:
    counts = report["counts"]
    header = ["Model", *(f"{title(group)} ({counts[group]['visits']:,})" for group in GROUPS)]
    rows = [
        [
            _title(report, name),
            *(
                _interval(report["models"][name]["groups"][group][metric], metric)
                for group in GROUPS
            ),
        ]
        for name in names
    ]
    return Table(f"{METRICS[metric]} by group (visits)", header, rows, _beside(report, names))


def _paired_table(report: dict, paired: list[dict], metric: str) -> Table:
    found = {(row["a"], row["b"], row["group"]): row for row in paired if row["metric"] == metric}
    pairs = dict.fromkeys((a, b) for a, b, _ in found)
    rows = [
        [
            f"{_title(report, a)} − {_named(report['models'], b)}",
            *(_paired_cell(found[a, b, group]) for group in GROUPS),
        ]
        for a, b in pairs
    ]
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    header = ["Paired difference", *(title(group) for group in GROUPS)]
    return Table(f"{METRICS[metric]}, paired differences", header, rows, _beside(report, names))


def _paired_cell(row: dict) -> str:
    if row["difference"] is None:
        return NOT_MEASURED
    if row["low"] is None:
        return _signed(row["difference"])
    return f"{_signed(row['difference'])} ({_signed(row['low'])} to {_signed(row['high'])})"


def _cells(report: dict, name: str, group: str) -> list[str]:
    found = report["models"][name]["groups"][group]
    return [_interval(found.get(metric), metric) for metric in METRICS]


def _truth(report: dict, group: str) -> list[str]:
    counts = report["counts"][group]
    cells = dict.fromkeys(METRICS, "")
    cells["medications"] = _number(counts["medications"], "medications")
    cells["interaction_rate"] = _number(counts["interaction_rate"], "interaction_rate")
    return ["As prescribed", *cells.values()]


def _cost(report: dict, name: str) -> list[str]:
    runs = report["models"][name]["runs"]
    first = runs[0]

    def count(value: int | None) -> str:
        return NOT_MEASURED if value is None else f"{value:,}"

    size = first.get("bytes")
    seconds = sum(run["seconds"] for run in runs) / len(runs)
    latency = first["latency"]
    return [
        _title(report, name),
        count(first["parameters"]),
        count(first.get("trained", first["parameters"])),
        NOT_MEASURED if size is None else f"{size / 1e6:,.2f}",
        f"{latency['one_visit_ms']:,.2f}",
        f"{latency['visit_of_batch_ms']:,.3f}",
        # A teacher's part only reads what a training run made, or another part trained.
        NOT_MEASURED if name == "teacher" else f"{seconds:,.1f}",
    ]


def _batches(report: dict, names: list[str]) -> str:
    sizes = {report["models"][name]["runs"][0]["latency"]["batch"] for name in names}
    return " or ".join(f"{size}" for size in sorted(sizes))


def _beside(report: dict, names: list[str]) -> tuple[str, ...]:
    """Return command, seeds, hardware, date and versions of the models of a table."""
    settings = report["settings"]
    runs = [run for name in names for run in report["models"][name]["runs"]]
    machines = sorted({run["hardware"] for run in runs})
    dates = sorted({run["date"] for run in runs})
    versions = ", ".join(f"{name} {version}" for name, version in settings["versions"].items())
    seeds = ", ".join(str(seed) for seed in settings["seeds"])
    teacher = f"; pair {settings['pair']}" if settings["pair"] else ""
    return (
        f"{settings['command'] or 'made from Python'} · cohort {settings['cohort'][:12]}{teacher} "
        f"· seeds {seeds} · {'; '.join(machines)} · {' to '.join(dates)} · {versions}",
    )


def _mean(report: dict, name: str) -> float | None:
    return report["models"][name]["groups"]["overall"]["prauc"]["mean"]


def _title(report: dict, name: str) -> str:
    return report["models"][name]["title"]


def _interval(value: dict | None, metric: str) -> str:
    """Return `0.512 (0.498–0.525) ± 0.003`: interval over patients, spread between seeds."""
    if value is None or value["mean"] is None:
        return NOT_MEASURED
    text = _number(value["mean"], metric)
    if value["low"] is not None:
        text += f" ({_number(value['low'], metric)}–{_number(value['high'], metric)})"
    if value["spread"] is not None:
        text += f" ± {_number(value['spread'], metric)}"
    return text


def _number(value: float | None, metric: str) -> str:
    if value is None:
        return NOT_MEASURED
    return f"{value:.1f}" if metric == "medications" else f"{value:.3f}"


def _signed(value: float) -> str:
    # z: what rounds to zero is never written as minus zero.
    return f"{value:+z.3f}".replace("-", "−")

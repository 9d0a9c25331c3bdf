"""The tables of a study's report: names to the left, numbers to the right, aligned and rounded."""

from dataclasses import dataclass

from engine.evaluation.subgroups import ADDED, title

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
DIGITS = {"medications": 1, "interaction_rate": 4}  # of the others 3
MARKS = {"above": "▲", "below": "▼", "unsure": ""}
EXCLUDES_ZERO = {"above": "yes, better", "below": "yes, worse", "unsure": "no"}


@dataclass(frozen=True)
class Table:
    """Names to the left, numbers to the right; `beside` says where they came from."""

    title: str
    header: list[str]
    rows: list[list[str]]
    beside: tuple[str, ...] = ()


def name_in_text(models: dict, name: str) -> str:
    found = models[name]["title"]
    return (
        found if found[:2].isupper() or found.startswith("GAME") else found[0].lower() + found[1:]
    )


def compared(report: dict) -> list[str]:
    for question in ("rq1", "folds", "rq4", "rq2"):
        if question in report["questions"]:
            return report["questions"][question]["models"]
    return list(report["models"])


def overall_table(report: dict, names: list[str]) -> Table:
    rows = [[model_title(report, name), *metric_cells(report, name, "overall")] for name in names]
    rows.append(truth_cells(report, "overall"))
    return Table("Overall", ["Model", *METRICS.values()], rows, beside(report, names))


def group_table(report: dict, names: list[str], metric: str) -> Table:
    counts = report["counts"]
    header = ["Model", *(f"{title(group)} ({counts[group]['visits']:,})" for group in GROUPS)]
    rows = [
        [
            model_title(report, name),
            *(
                interval_text(report["models"][name]["groups"][group].get(metric), metric)
                for group in GROUPS
            ),
        ]
        for name in names
    ]
    return Table(f"{METRICS[metric]} by group (visits)", header, rows, beside(report, names))


def paired_table(report: dict, paired: list[dict], metric: str) -> Table:
    found = {(row["a"], row["b"], row["group"]): row for row in paired if row["metric"] == metric}
    pairs = dict.fromkeys((a, b) for a, b, _ in found)
    rows = [
        [
            f"{model_title(report, a)} − {name_in_text(report['models'], b)}",
            *(paired_cell(found[a, b, group]) for group in GROUPS),
        ]
        for a, b in pairs
    ]
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    header = ["Paired difference", *(title(group) for group in GROUPS)]
    return Table(f"{METRICS[metric]}, paired differences", header, rows, beside(report, names))


def lever_table(report: dict, paired: list[dict], metric: str) -> Table:
    """Paired differences, marked where their interval excludes zero, and the verdict overall."""
    plain = paired_table(report, paired, metric)
    found = [row for row in paired if row["metric"] == metric and row["group"] in GROUPS]
    by_pair: dict[tuple[str, str], dict[str, dict]] = {}
    for row in found:
        by_pair.setdefault((row["a"], row["b"]), {})[row["group"]] = row
    rows = []
    for cells, groups in zip(plain.rows, by_pair.values(), strict=True):
        marked = [
            f"{cell} {MARKS[verdict(groups[group])]}".rstrip()
            for cell, group in zip(cells[1:], GROUPS, strict=True)
        ]
        rows.append([cells[0], EXCLUDES_ZERO[verdict(groups["overall"])], *marked])
    header = [plain.header[0], "Overall excludes zero", *plain.header[1:]]
    return Table(f"{METRICS[metric]}, what each switch gives", header, rows, plain.beside)


def verdict(row: dict) -> str:
    """Return `above`, `below` or `unsure`: where the interval of a difference lies."""
    if row["low"] is None:
        return "unsure"
    return "above" if row["low"] > 0 else "below" if row["high"] < 0 else "unsure"


def paired_cell(row: dict) -> str:
    if row["difference"] is None:
        return NOT_MEASURED
    if row["low"] is None:
        return signed_text(row["difference"])
    interval = f"{signed_text(row['low'])} to {signed_text(row['high'])}"
    return f"{signed_text(row['difference'])} ({interval})"


def metric_cells(report: dict, name: str, group: str) -> list[str]:
    found = report["models"][name]["groups"][group]
    return [interval_text(found.get(metric), metric) for metric in METRICS]


def tradeoff_table(report: dict, points: list[dict]) -> Table:
    """Jaccard and PRAUC against the interaction rate of what is recommended, and of the truth."""
    metrics = ("interaction_rate", "jaccard", "prauc", "medications")
    rows = []
    for point in points:
        found = report["models"][point["model"]]["groups"]["overall"]
        rows.append([point["title"], *(interval_text(found[metric], metric) for metric in metrics)])
    truth = report["counts"]["overall"]
    prescribed = [
        number_text(truth["interaction_rate"], "interaction_rate"),
        "",
        "",
        number_text(truth["medications"], "medications"),
    ]
    header = ["Loss on interactions", *(METRICS[metric] for metric in metrics)]
    return Table(
        "Interaction rate against agreement",
        header,
        [*rows, ["As prescribed", *prescribed]],
        beside(report, [point["model"] for point in points]),
    )


def truth_cells(report: dict, group: str) -> list[str]:
    counts = report["counts"][group]
    cells = dict.fromkeys(METRICS, "")
    cells["medications"] = number_text(counts["medications"], "medications")
    cells["interaction_rate"] = number_text(counts["interaction_rate"], "interaction_rate")
    return ["As prescribed", *cells.values()]


def cost_cells(report: dict, name: str) -> list[str]:
    runs = report["models"][name]["runs"]
    first = runs[0]

    def count(value: int | None) -> str:
        return NOT_MEASURED if value is None else f"{value:,}"

    size = first.get("bytes")
    seconds = sum(run["seconds"] for run in runs) / len(runs)
    latency = first["latency"]
    return [
        model_title(report, name),
        count(first["parameters"]),
        count(first.get("trained", first["parameters"])),
        NOT_MEASURED if size is None else f"{size / 1e6:,.2f}",
        f"{latency['one_visit_ms']:,.2f}",
        f"{latency['visit_of_batch_ms']:,.3f}",
        str(first["threads"]),
        # A teacher's part only reads what a training run made, or another part trained.
        NOT_MEASURED if name == "teacher" else f"{seconds:,.1f}",
    ]


def batches_text(report: dict, names: list[str]) -> str:
    sizes = {report["models"][name]["runs"][0]["latency"]["batch"] for name in names}
    return " or ".join(f"{size}" for size in sorted(sizes))


def beside(report: dict, names: list[str]) -> tuple[str, ...]:
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


def overall_mean(report: dict, name: str) -> float | None:
    return report["models"][name]["groups"]["overall"]["prauc"]["mean"]


def model_title(report: dict, name: str) -> str:
    return report["models"][name]["title"]


def interval_text(value: dict | None, metric: str) -> str:
    """Return `0.512 (0.498–0.525) ± 0.003`: interval over patients, spread between seeds."""
    if value is None or value["mean"] is None:
        return NOT_MEASURED
    text = number_text(value["mean"], metric)
    if value["low"] is not None:
        text += f" ({number_text(value['low'], metric)}–{number_text(value['high'], metric)})"
    if value["spread"] is not None:
        text += f" ± {number_text(value['spread'], metric)}"
    return text


def number_text(value: float | None, metric: str) -> str:
    if value is None:
        return NOT_MEASURED
    return f"{value:.{DIGITS.get(metric, 3)}f}"


def signed_text(value: float) -> str:
    # z: what rounds to zero is never written as minus zero.
    return f"{value:+z.3f}".replace("-", "−")

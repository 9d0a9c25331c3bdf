"""The measured tables of a card: who the models learnt from, and how well they serve whom."""

from collections.abc import Iterable, Mapping

SHOWN_FIELDS = ("sex", "age band", "race", "language", "insurance", "admission type")
MOST_SHOWN = 8  # categories of a field
NOT_MEASURED = "Not measured."


def training_shares(inputs: Mapping | None) -> list[str]:
    """Return the shares of the training visits by field, from `engine.evaluation.drift`."""
    if not inputs:
        return [NOT_MEASURED, ""]
    lines = ["| field | share of training visits |", "|---|---|"]
    for name in SHOWN_FIELDS:
        shares = list(inputs["fields"].get(name, {}).items())[:MOST_SHOWN]
        told = ", ".join(f"{category} {share:.0%}" for category, share in shares)
        lines.append(f"| {name} | {told or 'not on record'} |")
    return [*lines, ""]


def left_out(evaluations: Mapping[str, Mapping]) -> list[str]:
    """Return what hiding race, language, insurance and sex changes, of every evaluation."""
    rows = [
        f"| {name} | {model} | {row['field']} | {row['metric'].replace('prauc', 'PRAUC')} "
        f"| {_signed(row['difference'])} ({_signed(row['low'])} to {_signed(row['high'])}) |"
        for name, report in evaluations.items()
        for model, found in report.get("left_out", {}).items()
        for row in found
    ]
    if not rows:
        return [f"Effect of leaving them out: {NOT_MEASURED[0].lower()}{NOT_MEASURED[1:]}", ""]
    return [
        "Effect of hiding them from the trained models at the time of answering "
        "(without minus with):",
        "",
        "| data | model | left out | metric | difference |",
        "|---|---|---|---|---:|",
        *rows,
        "",
    ]


def by_group(evaluations: Mapping[str, Mapping]) -> list[str]:
    """Return PRAUC, Jaccard and calibration error by demographic group, of every evaluation."""
    lines = []
    for name, report in evaluations.items():
        groups = report.get("demographics")
        if not groups:
            continue
        models = list(next(iter(groups.values()))["models"])
        titles = [
            f"{model}: {metric}"
            for model in models
            for metric in ("PRAUC", "Jaccard", "calibration error")
        ]
        lines += [
            f"### {name}, by group",
            "",
            "| group | visits | patients | " + " | ".join(titles) + " |",
            "|---|---:|---:|" + "---:|" * len(titles),
            *(_group_row(group, found, models) for group, found in groups.items()),
            "",
        ]
    return lines or [NOT_MEASURED, ""]


def calibration(evaluations: Mapping[str, Mapping]) -> list[str]:
    """Return each model's expected calibration error, of every evaluation."""
    rows = []
    for name, report in evaluations.items():
        for model in ("teacher", "student"):
            bins = report.get("reliability", {}).get(model)
            if bins:
                rows.append(f"| {name} | {model} | {_error(bins):.3f} |")
    if not rows:
        return [NOT_MEASURED, ""]
    return ["| data | model | expected calibration error |", "|---|---|---:|", *rows, ""]


def faithfulness(evaluations: Mapping[str, Mapping]) -> list[str]:
    """Return whether what the student's basis ranks first matters more than chance."""
    lines = [
        f"- {name}: without the {found['left_out']} inputs ranked first a recommended group's "
        f"probability falls by {found['fall']:.2f}, without as many at random by "
        f"{found['fall_at_random']:.2f} (difference {_signed(found['difference'])}, "
        f"{_signed(found['low'])} to {_signed(found['high'])}; {found['answers']:,} groups of "
        f"{found['visits']:,} visits)."
        for name, report in evaluations.items()
        if (found := report.get("faithfulness"))
    ]
    return [*(lines or [NOT_MEASURED]), ""]


def _group_row(group: str, found: Mapping, models: Iterable[str]) -> str:
    cells = []
    for model in models:
        measured = found["models"][model]
        cells += [_interval(measured["prauc"]), _interval(measured["jaccard"])]
        cells.append(f"{measured['calibration_error']:.3f}")
    name = group.replace("_", " ")
    return f"| {name} | {found['visits']} | {found['patients']} | " + " | ".join(cells) + " |"


def _error(bins: Iterable[Mapping]) -> float:
    """Return the expected calibration error of bins that tell how many pairs each holds."""
    filled = [one for one in bins if one["pairs"]]
    total = sum(one["pairs"] for one in filled)
    return sum(one["pairs"] * abs(one["predicted"] - one["observed"]) for one in filled) / total


def _interval(value: Mapping) -> str:
    if value["low"] is None:
        return f"{value['mean']:.3f}"
    return f"{value['mean']:.3f} ({value['low']:.3f}–{value['high']:.3f})"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")

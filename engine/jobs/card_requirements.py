"""Where a card answers what regulators and journals ask of a predictive model.

Source attributes: US HTI-1 rule, 45 CFR 170.315(b)(11)(iv)(B), for predictive decision support.
TRIPOD+AI: Collins et al., BMJ 2024;385:e078378, items 1 to 27. Items are named in our own words.
`—` means that the card cannot answer it: whoever deploys the models has to.
"""

HOSPITAL = "— (for the hospital to state)"

SOURCE_ATTRIBUTES = (
    ("Developer and contact", HOSPITAL),
    ("Funding of the development", HOSPITAL),
    ("Value that comes out, and its kind", "Output"),
    ("Intended use", "Intended use"),
    ("Intended patients", "Intended use"),
    ("Intended users", "Intended use"),
    ("Role in decisions", "Intended use"),
    ("Out-of-scope tasks, situations and patients", "Out of scope and risks"),
    ("Known risks, limitations, unsuited settings", "Out of scope and risks"),
    ("Who is in the training data and who is not", "Training data"),
    ("Race, ethnicity, language, sex and other such inputs", "Inputs"),
    ("Representativeness of the training data", "Training data"),
    ("Relevance of the training data to the setting of use", "Training data"),
    ("How fairness was looked after", "Fairness"),
    ("How bias is found and reduced", "Fairness"),
    ("Source of external data", "Performance"),
    ("Party that tested externally", "Performance"),
    ("Representativeness of external data", "Performance"),
    ("How external testing was done", "Performance"),
    ("Validity on data of the same source", "Performance"),
    ("Fairness on data of the same source", "Fairness"),
    ("Validity on external data", "Performance"),
    ("Fairness on external data", "Fairness"),
    ("Studies of use and outcomes", "Out of scope and risks"),
    ("How validity is watched over time", "Maintenance"),
    ("Validity on local data", "Maintenance"),
    ("How fairness is watched over time", "Maintenance"),
    ("Fairness on local data", "Maintenance"),
    ("Schedule of updates", "Maintenance"),
    ("How soon problems are corrected", "Maintenance"),
    ("History of versions", "Version history"),
)

TRIPOD_AI = (
    ("1", "Title", "(the name of the version)"),
    ("2", "Abstract", "In short"),
    ("3", "Background and rationale", "Intended use"),
    ("4", "Objectives", "Intended use"),
    ("5", "Data sources", "Training data"),
    ("6", "Participants and eligibility", "Training data"),
    ("7", "Data preparation", "Training data"),
    ("8", "Outcome", "Output"),
    ("9", "Predictors", "Inputs"),
    ("10", "Sample size", "Training data"),
    ("11", "Missing data", "Inputs"),
    ("12", "Analytical methods", "Performance"),
    ("13", "Class imbalance", "Calibration"),
    ("14", "Fairness", "Fairness"),
    ("15", "Model output", "Output"),
    ("16", "Training against evaluation data", "Performance"),
    ("17", "Ethical approval", HOSPITAL),
    ("18", "Funding, conflicts, protocol, registration, data and code", HOSPITAL),
    ("19", "Patient and public involvement", HOSPITAL),
    ("20", "Participants, results", "Training data"),
    ("21", "Model development, results", "Time and hardware"),
    ("22", "Full model specification", "In short"),
    ("23", "Performance, with intervals and by group", "Performance"),
    ("24", "Model updating, results", "Version history"),
    ("25", "Interpretation", "Fairness"),
    ("26", "Limitations", "Out of scope and risks"),
    ("27", "Usability in the context of care", "Intended use"),
)


def tables() -> list[str]:
    """Return both tables as lines of Markdown."""
    return [
        "### Source attributes (45 CFR 170.315(b)(11))",
        "",
        "| attribute | section |",
        "|---|---|",
        *(f"| {item} | {section} |" for item, section in SOURCE_ATTRIBUTES),
        "",
        "### TRIPOD+AI",
        "",
        "| item | | section |",
        "|---:|---|---|",
        *(f"| {number} | {item} | {section} |" for number, item, section in TRIPOD_AI),
        "",
    ]

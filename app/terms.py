"""The words of the workbench in plain language: what stands behind every question mark."""

TERMS = {
    "Teacher": "a language model that reads the record as text. Thorough; takes a second or so.",
    "Student": "a small model that learned from the teacher and reads codes. Answers at once.",
    "Probability": "how sure a model is that the group is among the medications of this stay.",
    "Threshold": "from this probability on a model proposes a group. It was chosen on patients set "
    "aside for that.",
    "Agreement": "groups that both models propose. Where they differ, look twice.",
    "Status": "*continued*: given at the last stay and proposed; *new*: proposed, not given then; "
    "*stopped*: given then, proposed by neither.",
    "Given": "whether the group was in fact given during this visit, where that is on record.",
    "Prediction set": "more groups than are proposed: enough to hold a stated share of what is "
    "given, on average over patients.",
    "Medication group": "a family of drugs (ATC, third level), such as insulins. Never a dose.",
    "Token": "a piece of a word, as language models read. What did not fit is named below.",
    "Split": "*train*: the models learned from this patient; *validation*: thresholds were chosen "
    "with it; *test*: the models never saw it.",
    "PRAUC": "how well the groups that were given are ranked before the others, 0 to 1.",
    "Jaccard": "of the groups recommended or given, the share that is both.",
    "Calibration": "whether of 100 predictions of 0.80 about 80 come true.",
    "Interacting pairs": "of all pairs of groups in a list, the share that a rule warns of.",
    "Contraindicated": "not to be given together, or to this patient: it asks for an answer.",
    "Major": "needs a reason or a check. *Moderate*: worth knowing; folded away.",
}


def explain(*terms: str) -> str:
    """Return what some of `TERMS` mean, as Markdown for the `help` of an element."""
    return "\n\n".join(f"**{term}**: {TERMS[term]}" for term in terms)

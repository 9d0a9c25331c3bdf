"""What others reached on the full MIMIC data, to be read beside a study of the same cohort."""

# Published figures (PRAUC, Jaccard, F1) on the full MIMIC-III and MIMIC-IV, at ATC third level.
PUBLIC = (
    ("LEADER, teacher", "MIMIC-III", 0.7816, 0.5391, 0.6921),
    ("LEADER, student", "MIMIC-III", 0.7795, 0.5175, 0.6737),
    ("RASNet, highest seen", "MIMIC-III", 0.7882, 0.5401, 0.6931),
    ("Copy previous visit", "MIMIC-III", None, 0.469, None),
    ("LEADER, teacher", "MIMIC-IV", 0.7120, 0.4779, 0.6296),
    ("LEADER, student", "MIMIC-IV", 0.7020, 0.4483, 0.6005),
    ("CausalMed, highest seen", "MIMIC-IV", 0.7338, 0.4899, 0.6412),
    ("Copy previous visit", "MIMIC-IV", None, 0.443, None),
)

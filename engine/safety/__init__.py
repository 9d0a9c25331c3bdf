"""What to look at before a list of medications is given: rules over drugs, groups and a patient."""

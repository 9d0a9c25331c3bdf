"""Look-ups that know no patient: ICD titles, ATC groups, and the drug names hospitals write."""

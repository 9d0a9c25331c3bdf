"""Records: from a hospital's own tables to a cohort of patients and visits."""

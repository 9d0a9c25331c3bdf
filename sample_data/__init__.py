"""A synthetic cohort in the MIMIC-IV `hosp` layout, simulated from a readable knowledge base.

`python -m sample_data.generate OUT --patients N --seed S` writes the tables; `knowledge/` holds
what the simulation knows. No record of a real person is in it or behind it.
"""

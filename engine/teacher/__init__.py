"""The teacher: a language model that reads a visit as text and scores every medication group."""

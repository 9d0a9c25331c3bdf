"""Training as a run: stages in a row, each of which finishes whole or not at all."""

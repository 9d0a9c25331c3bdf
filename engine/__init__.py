"""The engine: from hospital records to a taught and distilled medication recommender."""

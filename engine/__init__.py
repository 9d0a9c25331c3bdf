"""The engine: from hospital records to a taught and distilled medication recommender."""

__version__ = "0.1.0"

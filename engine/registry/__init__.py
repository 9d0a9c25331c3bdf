"""Trained pairs: what one is made of, which versions there are, which one is in use."""

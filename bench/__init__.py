"""Benchmarks: `python -m bench NAME`, one file each, that print a table and write JSON."""

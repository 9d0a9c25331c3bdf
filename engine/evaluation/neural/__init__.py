"""Neural models of the field, written from their papers, to measure ours against."""

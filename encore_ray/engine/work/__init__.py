"""Units of work: done one by one, committed at most once, or measured and added up."""

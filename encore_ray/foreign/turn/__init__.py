"""A table of a known form, turned part by part into the form of ours; what becomes of it is counted."""

"""The passes: each makes one table or file of a run folder from those before it."""

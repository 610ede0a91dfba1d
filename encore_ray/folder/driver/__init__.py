"""One driver at a time on a run folder: who it is, and what it holds."""

"""Training a model on the rows of a run."""

"""Training of multi-head models."""

"""Checkpoints of every family: their configuration, tensors, body and heads."""

"""Embedding all responses, and fitting heads to labels."""

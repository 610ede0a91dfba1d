"""Whole jobs, here and elsewhere."""

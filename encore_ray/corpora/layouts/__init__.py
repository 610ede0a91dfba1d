"""Readers of the layouts of preference data: from a row to whole conversations."""

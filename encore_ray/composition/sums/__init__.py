"""Sums that no order of adding changes."""

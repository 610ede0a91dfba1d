"""Fitting energies to rewards or scores, and refining by them."""

"""Corpora whose truth is known, for the demo, tests and benchmarks."""

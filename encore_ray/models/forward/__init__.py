"""Exact forward passes over packed rows, and heads on what they give."""

"""Attention of packed rows: the kernels, and which of them a row takes."""

"""Kinds of files, each read as record batches or rows of text."""

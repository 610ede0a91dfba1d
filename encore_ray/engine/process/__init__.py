"""Processes that end: by a signal, at once, or because they hang."""

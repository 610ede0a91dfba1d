"""Hashes of keys and texts that are the same on every machine, and what is drawn from them."""

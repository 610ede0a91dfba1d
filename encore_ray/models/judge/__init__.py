"""Causal language models that rate, and adapters that tell which rules matter."""

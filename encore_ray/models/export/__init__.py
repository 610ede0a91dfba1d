"""Models that others load: heads and weights folded into one output."""

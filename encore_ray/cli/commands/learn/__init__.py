"""What is learned from labels: heads, a model, energies, rules for each pair."""

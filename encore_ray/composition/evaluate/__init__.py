"""How rewards agree with labels: accuracies, benchmarks, calibrated probabilities."""

"""From measurements to the weights of rules, and from scores and weights to rewards."""

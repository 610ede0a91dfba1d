"""The first screen: what the run is of, the decision, the command for it, and why."""

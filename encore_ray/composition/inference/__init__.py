"""How sure a figure is: intervals, entropies, agreement, and correlations without their noise."""

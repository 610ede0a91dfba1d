"""The scales of rules: cells of a histogram, ranges, ties."""

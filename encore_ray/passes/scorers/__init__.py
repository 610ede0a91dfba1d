"""Where scores come from: a model, a judge, an API, or ratings in the data."""

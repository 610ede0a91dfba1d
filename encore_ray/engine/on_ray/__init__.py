"""Work on a Ray cluster: the only place that imports ray, beside the training of models and submission."""

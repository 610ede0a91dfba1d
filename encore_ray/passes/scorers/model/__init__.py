"""A model on the actors of a cluster: fetched, planned once on the driver, run unit by unit."""

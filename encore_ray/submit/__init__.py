"""Handing a job to a cluster that runs elsewhere."""

"""Rewards, selections and models in the forms that others read."""

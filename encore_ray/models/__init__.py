"""Reward models, judges, energies and their training: torch, transformers, numpy and safetensors alone."""

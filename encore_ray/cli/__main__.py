"""`python -m encore_ray.cli` is `encore-ray`."""

from encore_ray.cli import program

program()

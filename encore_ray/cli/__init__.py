"""The command line: one class a command, its fields are the flags, its docstring is the help.

Heavy libraries load inside the commands, so that `--help` and mistakes answer at once.
"""

from encore_ray.cli.app import ALL_COMMANDS as COMMANDS
from encore_ray.cli.app import main, program

__all__ = ["COMMANDS", "main", "program"]

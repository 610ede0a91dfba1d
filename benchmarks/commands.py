"""The commands of encore-ray from a benchmark's own process."""

from encore_ray.cli import main


def run_command(*args: str) -> None:
    """Run one command; SystemExit where it fails."""
    try:
        main(list(args))
    except SystemExit as end:
        if end.code:
            raise

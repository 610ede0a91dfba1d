"""The command that tells what a bug report needs."""

from dataclasses import dataclass

from rich.console import Console

from encore_ray.cli.flags import Switch


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Tell of this machine what a bug report needs, and what on it would keep a job from running.

    Versions, processors, memory, GPUs, disks, temporary folders, cluster, MLflow, locale, proxies.

    And the variables that decide how jobs run, without credentials. It ends with 0 whatever it finds.
    """

    ray: Switch = False
    """Also start a Ray of its own, do one task, and end it."""

    def main(self, console: Console) -> None:
        from encore_ray.console.doctor import look_at_machine, try_ray

        for name, value in look_at_machine():
            console.print(f"{name:<14}{value}", soft_wrap=True, highlight=False, markup=False)
        if self.ray:
            console.print(f"{'Ray start':<14}{try_ray()}", soft_wrap=True, highlight=False, markup=False)

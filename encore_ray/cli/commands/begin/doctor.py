"""The command that tells what a bug report needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from encore_ray.cli.flags import Switch
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.console.ending import Ending, next_step

if TYPE_CHECKING:
    from encore_ray.console.versions import Look

GOOD = "Nothing that was looked at keeps a job from running on this machine."


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Tell of this machine what a bug report needs, and what on it would keep a job from running.

    Versions, processors, memory, GPUs, disks, temporary folders, cluster, MLflow, locale, proxies.

    And the variables that decide how jobs run, without credentials. It ends with 0 whatever it finds.

    Example: encore-ray doctor --ray
    """

    ray: Switch = False
    """Also start a Ray of its own, do one task, and end it."""
    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        found = []
        for look in self._looks():
            console.print(str(look), soft_wrap=True, highlight=False, markup=False)
            found.append(look)
        wrong = [look.name for look in found if look.is_wrong]
        steps = [next_step("run a whole job on made-up data, in minutes", "demo")]
        if not self.ray:
            steps.insert(0, next_step("see whether Ray starts here", "doctor", "--ray"))
        said = f"These would keep a job from running: {', '.join(wrong)}." if wrong else GOOD
        return Ending(said, steps, {look.name: look.value for look in found} | {"wrong": wrong})

    def _looks(self) -> "Iterator[Look]":
        from encore_ray.console.doctor import look_at_machine, try_ray

        yield from look_at_machine()
        if self.ray:
            yield try_ray()

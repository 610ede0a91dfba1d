"""Faults inside the processes of a job: Python imports this module first where its folder is on PYTHONPATH.

The plan is the JSON file that FAULT_PLAN names (see `tests.faults.plans`). A step is something that a process does:
it makes a file of the run folder durable, puts it under its name, deletes it, or calls one of FUNCTIONS. On an
object store STORE_FUNCTIONS stand for what happens to a file. Before or after the n-th time that any process takes a
step, the fault acts: once, whatever is retried later.

Every process of Ray comes through here, so that only the standard library is imported.
"""

import copyreg
import errno
import functools
import importlib.machinery
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time

# Steps that are calls: name (formatted with the call's `self`), module, function.
FUNCTIONS = (
    ("scan", "encore_ray.passes.corpus_scan", "_Scan.__call__"),
    ("convert", "encore_ray.passes.prepare", "_Convert.__call__"),
    ("score", "encore_ray.passes.scorers.score_unit", "ScoreUnit.__call__"),
    ("measure", "encore_ray.passes.weigh", "_Measure.__call__"),
    ("compose", "encore_ray.passes.compose", "_Compose.__call__"),
    ("read", "encore_ray.folder.reading.tables", "TableUnit.read"),
    ("commit of {self.table.name}", "encore_ray.folder.attempt", "Attempt.commit"),
)
STORE_FUNCTIONS = (
    ("link {file}", "encore_ray.storage", "Folder.create_once"),
    ("replace {file}", "encore_ray.storage", "Folder.write_atomic"),
    ("delete {file}", "encore_ray.storage", "Folder.delete"),
)
ERRORS = {"full": errno.ENOSPC, "read_only": errno.EROFS, "broken": errno.EIO}
TEMPORARY = ".tmp-"
CROWD_S = 10


class Plan:
    """The faults of one command, as this process sees them."""

    def __init__(self, plan, role):
        self.role = role
        self.run = plan["run"] + "/"
        self.folder = plan["folder"]
        self.trace = plan["trace"]
        self.pace_s = plan["pace_s"]
        self.faults = plan["faults"]
        self.crowd_bytes = plan["crowd_bytes"]
        self.is_zombie = False

    def step(self, name, side, handle=None):
        """Act if this is the time that a fault waits for."""
        if side == "before" and self.trace:
            self._append("trace", f"{self.role} {name}\n")
        if side == "before" and name == "score" and self.pace_s:
            time.sleep(self.pace_s)
        for fault in self.faults:
            if (fault["role"], fault["step"], fault["side"]) != (self.role, name, side):
                continue
            # The position after an appended byte is a number that no other process gets.
            if self._append(f"{fault['number']}.count", ".") == fault["nth"]:
                self._append("fired", f"{fault['number']}\n")
                self._act(fault, handle)

    def _append(self, name, text):
        handle = os.open(os.path.join(self.folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(handle, text.encode())
            return os.lseek(handle, 0, os.SEEK_CUR)
        finally:
            os.close(handle)

    def _act(self, fault, handle):
        action = fault["action"]
        if action == "tear":  # as a kill in the middle of writing the file leaves it
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
        if action in ("kill", "tear"):
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "kill_later":
            threading.Timer(fault["seconds"], os.kill, (os.getpid(), signal.SIGKILL)).start()
        elif action == "kill_driver":
            os.kill(self._driver(), signal.SIGKILL)
        elif action == "kill_node":  # of a worker: Ray's own process, with all that it started
            os.kill(os.getppid(), signal.SIGKILL)
        elif action == "kill_gcs":
            os.kill(self._child_of_driver("gcs_server"), signal.SIGKILL)
        elif action == "terminate":
            os.kill(self._driver(), signal.SIGTERM)
        elif action == "interrupt":  # Ctrl-C reaches every process in the terminal's foreground
            os.killpg(os.getpgid(self._driver()), signal.SIGINT)
        elif action == "stand_still":  # until somebody lets it go on
            os.kill(os.getpid(), signal.SIGSTOP)
        elif action == "slow":
            time.sleep(fault["seconds"])
        elif action == "hang":
            while True:
                time.sleep(3600)
        elif action == "zombie":
            self._become_zombie(fault["seconds"])
        elif action == "clock":
            turn_clock(fault["seconds"])
        elif action == "crowd":  # a process of nobody's, for a while
            taking = f"import time; taken = b'x' * {self.crowd_bytes}; time.sleep({CROWD_S})"
            environment = {name: value for name, value in os.environ.items() if name != "FAULT_PLAN"}
            subprocess.Popen([sys.executable, "-c", taking], env=environment, start_new_session=True)
        elif action == "swap":  # under the same name, size and time
            stamp = os.stat(fault["path"])
            os.rename(fault["path"], fault["path"] + ".away")
            with open(fault["path"] + ".away", "rb") as kept, open(fault["path"], "wb") as other:
                content = bytearray(kept.read())
                content[-2] ^= 1  # the last tensor has another last number
                other.write(content)
            os.utime(fault["path"], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        elif action == "vanish":
            os.rename(fault["path"], fault["path"] + ".away")
        elif action == "truncate":
            with open(fault["path"], "rb") as whole:
                half = whole.read(os.fstat(whole.fileno()).st_size // 2)
            os.rename(fault["path"], fault["path"] + ".away")
            with open(fault["path"], "wb") as part:
                part.write(half)
        else:
            raise OSError(ERRORS[action], os.strerror(ERRORS[action]))

    def _become_zombie(self, seconds):
        """The worker dies for its cluster, and a copy that nobody knows goes on with the attempt, later."""
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        self.is_zombie = True
        os.setsid()
        os.closerange(3, 65536)
        time.sleep(seconds)

    def _child_of_driver(self, name):
        driver = self._driver()
        for number in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{number}/stat") as file:
                    called, _, rest = file.read().partition("(")[2].rpartition(")")
            except OSError:
                continue
            if called == name and int(rest.split()[1]) == driver:
                return int(number)
        raise LookupError(f"{name} is no child of the driver")

    def _driver(self):
        with open(os.path.join(self.folder, "driver")) as file:
            return int(file.read())


def turn_clock(seconds):
    """Let the time of day jump, for whoever asks the module `time` from now on."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + int(seconds * 1e9)

    def reduce(function):  # what took the function before is pickled by its name all the same, as Ray does
        return (getattr, (time, function.__name__)) if function in (now, now_ns) else function.__reduce__()

    copyreg.pickle(type(now), reduce)


def file_step(run, path):
    """What a file of the run folder is called in steps; None for any other file. Unit names are left out."""
    if not path.startswith(run):
        return None
    folder, _, name = path[len(run) :].rpartition("/")
    if (
        name.startswith(TEMPORARY)
        or folder.endswith(("data", "commits", "attempts", ".encore-ray-lease"))
        or folder.startswith(("quarantine", "report"))
    ):
        name = "*"
    return f"{folder}/{name}" if folder else name


def watch_files(plan):
    """Make durable writes, renames, links and deletions of files in the run folder steps."""

    def named(verb, operation, place):
        @functools.wraps(operation)
        def stepped(*args, **kwargs):
            path = args[place]
            name = file_step(plan.run, path) if isinstance(path, str) else None
            if name is None:
                return operation(*args, **kwargs)
            plan.step(f"{verb} {name}", "before")
            result = operation(*args, **kwargs)
            plan.step(f"{verb} {name}", "after")
            return result

        return stepped

    fsync = os.fsync

    @functools.wraps(fsync)
    def synced(handle):
        number = handle if isinstance(handle, int) else handle.fileno()
        path = os.readlink(f"/proc/self/fd/{number}")
        name = file_step(plan.run, path) if os.path.isfile(path) else None
        if name is not None:
            plan.step(f"write {name}", "before", number)
        fsync(handle)

    os.fsync = synced
    os.replace = named("replace", os.replace, 1)
    os.link = named("link", os.link, 1)
    os.unlink = named("delete", os.unlink, 0)
    os.remove = os.unlink


class Watcher:
    """Finds the modules of FUNCTIONS as Python does, and wraps the functions once they are loaded."""

    def __init__(self, plan):
        self.plan = plan
        self.functions = FUNCTIONS + (STORE_FUNCTIONS if "://" in plan.run else ())

    def find_spec(self, name, path, target=None):
        steps = [(step, function) for step, module, function in self.functions if module == name]
        spec = importlib.machinery.PathFinder.find_spec(name, path) if steps else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_wrap(module):
            execute(module)
            for step, function in steps:
                self.wrap(module, function, step)

        spec.loader.exec_module = execute_and_wrap
        return spec

    def wrap(self, module, function, step):
        owner, _, name = function.partition(".")
        original = getattr(getattr(module, owner), name)

        @functools.wraps(original)
        def stepped(self_, *args, **kwargs):
            file = file_step(self.plan.run, self_.path(args[0])) if "{file}" in step else ""
            if file is None:
                return original(self_, *args, **kwargs)
            called = step.format(self=self_, file=file)
            self.plan.step(called, "before")
            try:
                result = original(self_, *args, **kwargs)
            finally:
                if self.plan.is_zombie:
                    os._exit(0)
            self.plan.step(called, "after")
            return result

        setattr(getattr(module, owner), name, stepped)


def arm(path):
    command = " ".join(sys.orig_argv)
    role = "driver" if "encore_ray.cli" in command else "worker" if "default_worker.py" in command else None
    if role is None:
        return
    with open(path) as file:
        plan = Plan(json.load(file), role)
    if role == "driver":
        with open(os.path.join(plan.folder, "driver"), "w") as file:
            file.write(str(os.getpid()))
    watch_files(plan)
    sys.meta_path.insert(0, Watcher(plan))


if os.environ.get("FAULT_PLAN"):
    arm(os.environ["FAULT_PLAN"])

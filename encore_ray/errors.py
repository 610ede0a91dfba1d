"""Every error a user can cause, as one tree; the command line turns each into its exit code.

    EncoreError                what the user can mend; printed without a traceback
    |- ConfigError      (2)    an option, a missing path, a configuration file
    |  `- ResumeRefused (2)    the run folder holds work made from something else
    |- DataError        (3)    the corpus, the scores or the rules do not fit the job
    |- ClusterError     (4)    the cluster cannot give what was asked for, or a node does not see the files
    `- ModelError       (4)    the model cannot be loaded or does not do what it must

Anything else that is raised is a defect of ours: exit code 1, with its traceback. An interrupt is neither: Ctrl-C
ends with 130, SIGTERM (`Terminated`) with 143, SIGHUP (`HungUp`) with 129.
"""

from encore_ray.redaction import redact
from encore_ray.visible import said


class AssumedWarning(UserWarning):
    """A function on tables has left out rows, or read off the scores that a higher one is worse."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: handled as an interrupt, so that the job ends cleanly."""

    exit_code = 143


class HungUp(Terminated):
    """SIGHUP, of a terminal that is closed: handled in the same way."""

    exit_code = 129


class EncoreError(Exception):
    """Base of all errors that say what happened, where, and what to do about it; without credentials and controls."""

    exit_code = 2

    def __init__(self, message: str):
        super().__init__(said(redact(message)))


class ConfigError(EncoreError):
    """The configuration is wrong: an unknown key, a bad value, a path that is not there."""


class ResumeRefused(ConfigError):
    """A run folder holds results made from another input, model, rule set or option."""


class DataError(EncoreError):
    """The data cannot be used: unreadable files, too many bad rows, repeated ids, bad scores."""

    exit_code = 3


class ClusterError(EncoreError):
    """The cluster lacks resources for the job, or a node does not see the job's files."""

    exit_code = 4


class ModelError(EncoreError):
    """The model cannot be loaded, lacks trained heads, or fails its self-check."""

    exit_code = 4

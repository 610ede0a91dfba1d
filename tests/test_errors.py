"""The error tree and the exit codes it stands for."""

import pytest

from encore_ray.errors import ClusterError, ConfigError, DataError, EncoreError, ModelError, ResumeRefused


@pytest.mark.parametrize(
    ("kind", "code"), [(ConfigError, 2), (ResumeRefused, 2), (DataError, 3), (ClusterError, 4), (ModelError, 4)]
)
def test_each_error_has_the_exit_code_of_its_cause(kind: type[EncoreError], code: int) -> None:
    assert kind("what, where, and what to do").exit_code == code


def test_a_refused_resume_is_a_mistake_in_the_configuration() -> None:
    assert issubclass(ResumeRefused, ConfigError)

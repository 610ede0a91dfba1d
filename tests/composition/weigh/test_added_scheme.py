import json
import os
import subprocess
import sys
from typing import Any

import pytest


@pytest.fixture(scope="module")
def met() -> dict[str, Any]:
    """Where a scheme is met that is one class and one row of the table."""
    command = [sys.executable, "-m", "tests.composition.added_scheme"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"})
    return json.loads(done.stdout)


def test_an_added_scheme_weighs_by_its_own_options(met: dict[str, Any]) -> None:
    assert (met["scheme"], met["params"], met["weights"]) == ("first_rules", {"num_rules": 1}, [1.0, 0.0])


def test_an_added_scheme_competes_in_compare(met: dict[str, Any]) -> None:
    # the first rule alone: three of four pairs are right
    compared = met["compared"]
    assert (compared["params"], compared["weights"]) == ({"num_rules": 1}, {"rule0": 1.0, "rule1": 0.0})
    assert (compared["all"]["wins"], compared["all"]["num_pairs"]) == (3, 4)


def test_an_added_scheme_is_in_the_help_the_refusals_and_the_report(met: dict[str, Any]) -> None:
    assert "encore_max_discrepancy,first_rules}" in met["help"]
    assert "num_rules belongs to scheme lowest_entropy and first_rules; uniform would weigh all rules" in met["refusal"]
    assert met["label"] == "The first rules"

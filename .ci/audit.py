"""Look up the pins of constraints.txt in the OSV database of known vulnerabilities: `python .ci/audit.py`.

Further options go to pip-audit. Ends with 1 when a pinned version is vulnerable and a mended one is out; names those
without a mended version. Where the database cannot be reached it says so, and ends with 0.
"""

import json
import subprocess
import sys
from typing import Any

PIP_AUDIT = [
    *(sys.executable, "-m", "pip_audit", "--requirement", "constraints.txt", "--no-deps", "--disable-pip"),
    *("--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off", "--timeout", "10"),
]
# By id: why the pin stays although a mended version is out.
ACCEPTED: dict[str, str] = {}


def judge(report: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Vulnerabilities of a report of pip-audit, a line each: to be mended, and known only."""
    mend, known = [], []
    for package in report["dependencies"]:
        for found in package.get("vulns", []):
            line = f"{package['name']} {package['version']}: {found['id']}"
            if reason := ACCEPTED.get(found["id"]):
                known.append(f"{line}, accepted: {reason}")
            elif found["fix_versions"]:
                mend.append(f"{line}, mended in {', '.join(found['fix_versions'])}")
            else:
                known.append(f"{line}, not mended yet")
    return mend, known


def main() -> int:
    try:
        command = [*PIP_AUDIT, *sys.argv[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603  our own
        report = json.loads(done.stdout)
    except (json.JSONDecodeError, subprocess.TimeoutExpired) as error:
        said = "it took too long" if isinstance(error, subprocess.TimeoutExpired) else done.stderr.strip()
        print(f"Dependencies are not audited: pip-audit had no answer from its database. {said.splitlines()[-1]}")
        return 0
    mend, known = judge(report)
    print("\n".join([*known, *mend, f"{len(report['dependencies'])} pins audited, {len(mend)} to mend."]))
    return 1 if mend else 0


if __name__ == "__main__":
    sys.exit(main())

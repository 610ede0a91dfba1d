"""`python -m tests.docs` writes the generated parts of the pages anew, after a change of configuration or commands."""

from tests.docs.generated import GENERATED, write

for marker in GENERATED:
    write(marker)

r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/run.py jobs/example.yaml

Runs a whole job from its YAML file: prepare, score, weigh, compose, evaluate.
Paths are those that every node sees. Further flags are those of `encore-ray run`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])

r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/select-rules.py --run /data/run --num-rules 5

Choose the rules that each pair deserves, and label it by what they say (RuleAdapter).
Paths are those that every node sees. Further flags are those of `encore-ray select`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["select", *sys.argv[1:]])

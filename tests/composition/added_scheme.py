"""A program in which there is one more scheme: a class and a row of the table. Prints where it is met, as JSON."""

import contextlib
import io
import json
from dataclasses import dataclass

import numpy as np

from encore_ray.composition.weigh import schemes
from encore_ray.composition.weigh.scheme import Competition, Evidence, Scheme, SchemeOptions

CHOSEN_KN, REJECTED_KN = [[0.9, 0.8, 0.7, 0.2], [0.5, 0.1, 0.3, 0.9]], [[0.1, 0.2, 0.3, 0.6], [0.4, 0.2, 0.1, 0.3]]


@dataclass(frozen=True)
class FirstRules(Scheme):
    """The first rules weigh alike."""

    num_rules: int = 1

    name = "first_rules"
    label = "The first rules"
    takes = ("num_rules",)
    weighs_by_entropy = True

    @classmethod
    def of_options(cls, options: SchemeOptions) -> "FirstRules":
        return cls(options.num_rules or 1)

    @classmethod
    def competing(cls, competition: Competition) -> tuple["FirstRules", ...]:
        return (cls(competition.num_kept - 1),)

    def weigh(self, evidence: Evidence) -> np.ndarray:
        return np.array([(k < self.num_rules) / self.num_rules for k in range(len(evidence.names))])


schemes.SCHEMES += (FirstRules,)  # before anything reads the table


def main() -> None:
    from encore_ray.artifacts import Comparison
    from encore_ray.cli import main as command_line
    from encore_ray.composition.weigh.weighing import weigh
    from encore_ray.config import WeighOptions
    from encore_ray.config.sources import make_section
    from encore_ray.errors import ConfigError
    from encore_ray.report.data.contents import contenders, label_of
    from tests.composition.builders import make_rules, measure
    from tests.composition.compared import compare

    rules = make_rules(2)
    options = make_section(WeighOptions, {"scheme": "first_rules", "num_rules": 1, "by_group": True}, where="here")
    scheme = schemes.find_scheme(options.scheme).of_options(options)
    weights = weigh(measure(CHOSEN_KN, REJECTED_KN, rules=rules), scheme=scheme)
    try:
        make_section(WeighOptions, {"scheme": "uniform", "num_rules": 1}, where="here")
        refusal = ""
    except ConfigError as error:
        refusal = str(error)
    comparison = compare(CHOSEN_KN, REJECTED_KN, rules=rules)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        command_line(["weigh", "--help"])
    found = {
        "scheme": weights.scheme,
        "params": weights.scheme_params,
        "weights": [rule.weight for rule in weights.rules],
        "refusal": refusal,
        "compared": next(line for line in comparison["schemes"] if line["name"] == "first_rules"),
        "label": next(
            label_of(each.name) for each in contenders(Comparison.of(comparison)) if each.name == "first_rules"
        ),
        "help": shown.getvalue(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()

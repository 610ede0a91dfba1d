"""Safety rules to start from: 85, a file a group, and ten of them that suit most corpora."""

from importlib.resources import files
from typing import Literal, get_args

from encore_ray.errors import ConfigError
from encore_ray.rules import RuleSet

RulePool = Literal[
    "default",
    "all",
    "compliance",
    "crime",
    "people",
    "fairness",
    "privacy",
    "wellbeing",
    "advice",
    "honesty",
    "minors",
    "conduct",
]
RULE_POOLS: tuple[RulePool, ...] = get_args(RulePool)

# Of the pool, ten that differ often between two responses, in both directions and on different matters.
_DEFAULT_RULES = (
    "actionable_harm",
    "refuses_harm",
    "safer_alternative",
    "insults",
    "stereotypes",
    "empathy",
    "warns_of_risk",
    "false_claim",
    "answers",
    "lectures",
)


def rule_pool(name: RulePool = "default") -> RuleSet:
    """Safety rules that come with the package, each a short question to a judge about one response.

    They are answered by P(yes) - P(no), on a scale from -1 to 1.

    Args:
        name: "default" for ten rules that suit most corpora, "all", or one group of them.

    Raises:
        ConfigError: no such pool.
    """
    if name not in RULE_POOLS:
        raise ConfigError(f"Unknown rule pool {name!r}; known: {', '.join(RULE_POOLS)}.")
    if name not in ("default", "all"):
        text = files("encore_ray.rule_pools").joinpath(f"{name}.yaml").read_text("utf-8")
        return RuleSet.from_yaml(text, where=f"rule pool {name}")
    pool = {rule.name: rule for group in RULE_POOLS[2:] for rule in rule_pool(group)}
    return RuleSet(pool.values() if name == "all" else (pool[each] for each in _DEFAULT_RULES))

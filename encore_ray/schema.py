"""Every column name, table schema and file name of a run folder, spelled once.

Tables are Parquet. A pass folder (pairs/, scores/, rewards/) holds

    plan.json          fingerprint of everything that decides the results
    work.json          how many units and rows there are to do
    data/*.parquet     one file a unit and attempt
    attempts/*         while the pass runs: marks of the units in work
    commits/*.json     one record a finished unit: first writer wins
    manifest.parquet   unit, file, rows, digest: what readers read
    _SUCCESS           counts, fingerprint, digest of the manifest, quarantine files: written last, compared by readers
"""

from enum import StrEnum

import pyarrow as pa

SCHEMA_VERSION = 1

# Columns of pairs/
PAIR_ID = "pair_id"
CONTENT_ID = "content_id"
PROMPT_ID = "prompt_id"
GROUP_ID = "group_id"
PROMPT = "prompt"
CHOSEN = "chosen"
REJECTED = "rejected"
SUBSET = "subset"

# Columns of pairs/ where a source row holds several responses: names of the two within their group. The chosen
# one of a pair is a correct response of its group, the rejected one is not.
CHOSEN_RESPONSE_ID = "chosen_response_id"
REJECTED_RESPONSE_ID = "rejected_response_id"

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

PAIR_FIELDS: tuple[pa.Field, ...] = (
    pa.field(PAIR_ID, pa.string(), nullable=False),
    pa.field(CONTENT_ID, pa.string(), nullable=False),
    pa.field(PROMPT_ID, pa.string(), nullable=False),
    pa.field(GROUP_ID, pa.string()),
    pa.field(PROMPT, MESSAGES, nullable=False),
    pa.field(CHOSEN, MESSAGES, nullable=False),
    pa.field(REJECTED, MESSAGES),
    pa.field(SUBSET, pa.string()),
)

# Columns of scores/
CHOSEN_TOKENS = "chosen_tokens"
REJECTED_TOKENS = "rejected_tokens"
CHOSEN_CHARS = "chosen_chars"
REJECTED_CHARS = "rejected_chars"
TRUNCATED = "truncated"
SIDE_SEPARATOR = "__"

# Columns of rewards/
CHOSEN_REWARD = "chosen_reward"
REJECTED_REWARD = "rejected_reward"
MARGIN = "margin"
CHOSEN_VETOES = "chosen_vetoes"  # names of the hard rules that the response breaks; of rewards by weights with vetoes
REJECTED_VETOES = "rejected_vetoes"

# Columns of embeddings/ and features/: fixed-size lists of float16, NaN where there is no rejected response
CHOSEN_EMBEDDING = "chosen_embedding"
REJECTED_EMBEDDING = "rejected_embedding"

# Columns of refined/
CHOSEN_REFINED = "chosen_refined"
REJECTED_REFINED = "rejected_refined"
REFINED_MARGIN = "refined_margin"
CHOSEN_AT_END = "chosen_at_end"  # the energy is highest at an end of its domain
REJECTED_AT_END = "rejected_at_end"
LABEL_PROBABILITY = "label_probability"  # calibrated: that the chosen response beats the rejected one

# Columns of selection/, beside selected__<rule>: what the selected rules of a pair say together
SELECTED = "selected"
SELECTION_MARGIN = "selection_margin"  # sum of their signed differences, chosen minus rejected
SELECTION_LABEL = "selection_label"  # int8: 1 where the chosen response is better by it, -1 the rejected, 0 for a tie

RELEVANCE = "relevance"  # columns of relevance/: how much each rule matters to a pair, 0 to 1

# Columns of quarantine/
SOURCE = "source"
LINE = "line"
REASON = "reason"
DETAIL = "detail"
RAW = "raw"

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field(SOURCE, pa.string(), nullable=False),
        pa.field(LINE, pa.int64(), nullable=False),  # 1-based line of a text file, or row of a table
        pa.field(PAIR_ID, pa.string()),  # known once a pair has an id, e.g. when its score is not finite
        pa.field(REASON, pa.string(), nullable=False),
        pa.field(DETAIL, pa.string(), nullable=False),
        pa.field(RAW, pa.string(), nullable=False),
    ]
)

# Files of a run folder
PAIRS_DIR, SCORES_DIR, REWARDS_DIR, QUARANTINE_DIR, REPORT_DIR = "pairs", "scores", "rewards", "quarantine", "report"
RELEVANCE_DIR, SELECTION_DIR, FEATURES_DIR, EMBEDDINGS_DIR, REFINE_DIR, REFINED_DIR = (
    "relevance",
    "selection",
    "features",
    "embeddings",
    "refine",
    "refined",
)
RULE_REFINE_DIR, REFINED_SCORES_DIR = f"{REFINE_DIR}/rules", "refined_scores"
ENERGY_TENSORS_FILE, ENERGY_FILE = f"{REFINE_DIR}/energy.safetensors", f"{REFINE_DIR}/energy.json"
REFINE_REPORT_FILE, LABEL_ERRORS_FILE = f"{REFINE_DIR}/report.json", f"{REFINE_DIR}/label_errors.json"
CONSENSUS_FILE = "report/consensus.svg"
ROBUSTNESS_FILE, RELIABILITY_FILE = f"{REFINE_DIR}/robustness.svg", f"{REFINE_DIR}/reliability.svg"
RULE_ENERGY_TENSORS_FILE, RULE_ENERGY_FILE, RULE_REFINE_REPORT_FILE = (
    f"{RULE_REFINE_DIR}/{name}" for name in ("energy.safetensors", "energy.json", "report.json")
)
ENERGY_TRAINING_DIR, RULE_ENERGY_TRAINING_DIR = f"{REFINE_DIR}/training", f"{RULE_REFINE_DIR}/training"
FIT_PROGRESS_FILE = "progress.json"  # in either, while energies are fitted
RULES_FILE, WEIGHTS_FILE, METRICS_FILE, CONFIG_FILE = "rules.yaml", "weights.json", "metrics.json", "config.yaml"
COMPARISON_FILE, LOG_FILE = "comparison.json", "log.txt"
FIGURE_FILE = f"{REPORT_DIR}/evaluation.png"
REPORT_FILE, REPORT_TABLES_DIR = f"{REPORT_DIR}/report.html", f"{REPORT_DIR}/tables"
FACTS_DIR = "facts"  # what the results of a pass were made from, a file each
PLAN_FILE, WORK_FILE, MANIFEST_FILE, SUCCESS_FILE = "plan.json", "work.json", "manifest.parquet", "_SUCCESS"
DATA_DIR, COMMITS_DIR, ATTEMPTS_DIR = "data", "commits", "attempts"
NONCE_FILE = ".encore-ray-nonce"
TRACKING_DIR = "tracking"

MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("unit", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),  # relative to the pass folder
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),  # content_digest of the file's bytes
    ]
)


REASON_COUNT = "reason."  # prefix of the counts of quarantined rows by reason
SELECTED_COUNT = "selected."  # prefix of the counts of pairs by selected rule
CHOSEN_VETO_COUNT, REJECTED_VETO_COUNT = "chosen_breaks.", "rejected_breaks."  # of responses by hard rule


class Reason(StrEnum):
    """Why a row is in quarantine: the fixed vocabulary of the `reason` column."""

    MALFORMED_JSON = "malformed_json"
    MALFORMED_CSV = "malformed_csv"
    INVALID_UTF8 = "invalid_utf8"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    EMPTY_FIELD = "empty_field"
    WRONG_TYPE = "wrong_type"
    BAD_ROLES = "bad_roles"
    NO_COMMON_PROMPT = "no_common_prompt"
    LAST_TURN_NOT_ASSISTANT = "last_turn_not_assistant"
    FIELD_TOO_LARGE = "field_too_large"
    ROW_TOO_LARGE = "row_too_large"
    BAD_LABEL = "bad_label"
    BAD_RATING = "bad_rating"
    NO_RESPONSE = "no_response"
    PICTURE = "picture"
    TOOL_TURN = "tool_turn"
    UNREAD_TRANSCRIPT = "unread_transcript"
    UNREAD_COLUMN = "unread_column"
    TEMPLATE_REFUSED = "template_refused"
    NON_FINITE_SCORE = "non_finite_score"
    NOT_A_RATING = "not_a_rating"
    OUT_OF_MEMORY = "out_of_memory"
    KILLS_WORKER = "kills_worker"
    HANGS = "hangs"


def chosen_column(rule: str) -> str:
    """Column of a rule's score of the chosen response."""
    return f"{CHOSEN}{SIDE_SEPARATOR}{rule}"


def rejected_column(rule: str) -> str:
    """Column of a rule's score of the rejected response."""
    return f"{REJECTED}{SIDE_SEPARATOR}{rule}"


def selected_column(rule: str) -> str:
    """Column that tells whether a rule is one of those selected for the pair."""
    return f"{SELECTED}{SIDE_SEPARATOR}{rule}"


def relevance_column(rule: str) -> str:
    """Column that tells how much a rule matters to the pair."""
    return f"{RELEVANCE}{SIDE_SEPARATOR}{rule}"

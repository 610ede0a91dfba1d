"""The layouts of preference data that are understood, and how to recognise them.

A layout reads a row into whole conversations; pairs.py finds what they share. Columns that a layout turns into
prompt and responses are used up; all others, labels included, are passed through. The readers are in layouts/.
"""

from collections.abc import Mapping

from encore_ray.corpora.layouts import judged, ranked, sided, trees
from encore_ray.corpora.layouts.layout import (
    ID,
    LISTS,
    MESSAGE,
    MESSAGES,
    NESTED,
    NUMBER,
    PAIR,
    REPLY,
    SIDES,
    TALK,
    TEXT,
    THREE,
    TRANSCRIPT,
    Layout,
)
from encore_ray.corpora.layouts.proposed import Proposal, propose
from encore_ray.corpora.values import STORED, WHOLE, Shape
from encore_ray.errors import DataError
from encore_ray.schema import CHOSEN, PROMPT, REJECTED, SUBSET

AUTO = "auto"


def choose_layout(found: Mapping[str, Shape], *, format_name: str = AUTO, where: str) -> Layout:
    """The layout of a file.

    Args:
        found: the usual shape of each column.
        format_name: a layout's name, or "auto" for the first one that fits.
        where: what to call the file in errors.

    Raises:
        DataError: no row can be read, no layout fits, or the named one lacks columns; says which columns were found.
    """
    if not found:
        raise DataError(
            f"{where}: not one of its rows can be read as a JSON object with columns, or as CSV under a header. Each "
            'line must be one, as {"prompt": ..., "chosen": ..., "rejected": ...}, in UTF-8; UTF-16, as Excel writes '
            "it, becomes that by `iconv -f UTF-16 -t UTF-8`."
        )
    if all(shape is Shape.NULL for shape in found.values()):
        raise DataError(
            f"{where}: not one of its rows can be read: all of its columns ({', '.join(found)}) are null. Leave it out "
            "of the inputs, or set prepare.unreadable: leave_out."
        )
    if format_name != AUTO:
        named = [layout for layout in LAYOUTS if layout.name == format_name and layout.shapes.keys() <= found.keys()]
        if named:
            return next((layout for layout in named if fits(layout, found)), named[0])
        raise DataError(f"{where} is not in the format {format_name}. {_found_and_known(found, format_name)}")
    for may_be_null in (False, True):
        for layout in LAYOUTS:
            if fits(layout, found, may_be_null=may_be_null):
                return layout
    raise DataError(f"{where}: unrecognised layout. {_found_and_known(found, AUTO)}")


def fits(layout: Layout, found: Mapping[str, Shape], *, may_be_null: bool = False) -> bool:
    """Whether columns of these shapes are those of a layout; a list that is stored as text is a list.

    With `may_be_null`, columns that hold nothing in this file are what they are in others; not all of them.
    """
    shapes = {name: STORED.get(shape, shape) for name, shape in found.items()}
    if any(found.get(name, Shape.NULL) is not Shape.NULL for name in layout.lacks):
        return False
    null = [name for name in layout.shapes if shapes.get(name) is Shape.NULL] if may_be_null else []
    others = [name for name in layout.shapes if name not in null]
    return bool(others) and all(shapes.get(name) in layout.shapes[name] for name in others)


def format_names() -> list[str]:
    """Names that `--format` takes besides auto, in the order of detection."""
    return list(dict.fromkeys(layout.name for layout in LAYOUTS))


def _found_and_known(found: Mapping[str, Shape], format_name: str) -> str:
    columns = f"Columns found: {', '.join(f'{name} ({shape})' for name, shape in found.items())}."
    proposal = propose(found) if format_name == AUTO else None
    if proposal is not None:
        return f"{columns} {proposal.sentence} Or name the format: {', '.join(format_names())}."
    known = [
        f"  {layout.name}: " + ", ".join(f"{name} ({_expected(shapes)})" for name, shapes in layout.shapes.items())
        for layout in LAYOUTS
        if format_name in (AUTO, layout.name) or format_name not in format_names()
    ]
    if format_name == AUTO:
        example = Proposal({PROMPT: "question", CHOSEN: "answer_a", REJECTED: "answer_b"})
        advice = f"Say which column is what, as {example}, or name the format."
    else:
        advice = "Map the columns by inputs[].columns, or leave out the format to have it detected."
    return f"{columns} Formats and the columns they need:\n" + "\n".join(known) + f"\n{advice}"


def _expected(shapes: frozenset[Shape]) -> str:
    """What a column may hold, in few words."""
    words = {Shape.TEXT: TEXT, Shape.INT: NUMBER | ID, Shape.MESSAGES: MESSAGES | MESSAGE, Shape.TEXTS: LISTS}
    names = {Shape.INT: "number", Shape.TEXTS: "list"}
    known = [shape for shape in words if shape in shapes]
    others = shapes.difference(*(words[shape] for shape in known))
    return " or ".join([*(names.get(shape, shape.value) for shape in known), *sorted(others)])


def _asked(name: str, read: str, *, prompt: str, chosen: str = CHOSEN, rejected: str = REJECTED) -> Layout:
    shapes = {prompt: TALK, chosen: REPLY, rejected: REPLY}
    return Layout(name, shapes, frozenset(shapes), getattr(sided, read), plain=(prompt, chosen, rejected))


_ULTRAFEEDBACK_RULES, _HELPSTEER2_RULES = ranked.ULTRAFEEDBACK_RULES, ranked.HELPSTEER2_RULES
_PLAIN = (PROMPT, CHOSEN, REJECTED)
_RESPONSES_OF_PPE = frozenset(f"response_{number}" for number in range(1, 129))

# Where one of these stands, what looks like a single response is one side of a pair.
_OTHER_SIDES = frozenset({CHOSEN, REJECTED, *(f"rejected_{name}" for name in ("response", "messages", "completion"))})

# The order is the order of detection: a layout comes before any other that its files would fit as well.
LAYOUTS: tuple[Layout, ...] = (
    Layout("hh-rlhf", {CHOSEN: TRANSCRIPT, REJECTED: TRANSCRIPT}, SIDES, sided.transcripts, is_transcripts=True),
    Layout(
        "rm-bench",
        {"id": ID, PROMPT: TALK, CHOSEN: THREE, REJECTED: THREE, "domain": TEXT},
        PAIR,
        sided.rm_bench,
        is_grouped=True,
        can_be_rated=False,
        lacks=frozenset({"total_completions"}),
        has_ids=False,
        subset="domain",
    ),
    Layout(
        "rm-bench",
        {"id": WHOLE, PROMPT: TALK, CHOSEN: THREE, REJECTED: THREE, SUBSET: TEXT},
        PAIR,
        sided.rm_bench,
        is_grouped=True,
        can_be_rated=False,
        lacks=frozenset({"total_completions"}),
        has_ids=False,
    ),
    Layout(
        "rewardbench2",
        {PROMPT: TALK, CHOSEN: LISTS | TALK, REJECTED: LISTS},
        PAIR,
        sided.several,
        is_grouped=True,
        can_be_rated=False,
    ),
    Layout(
        "rewardbench",
        {PROMPT: TEXT, CHOSEN: TEXT, REJECTED: TEXT, SUBSET: TEXT, "id": ID},
        PAIR,
        sided.explicit,
        plain=_PLAIN,
    ),
    Layout("ultrafeedback", {PROMPT: TEXT, CHOSEN: MESSAGES, REJECTED: MESSAGES}, PAIR, sided.whole_with_prompt),
    Layout("trl", {PROMPT: TALK, CHOSEN: REPLY, REJECTED: REPLY}, PAIR, sided.explicit, plain=_PLAIN),
    Layout(
        "sharegpt",
        {"conversations": MESSAGES, CHOSEN: REPLY, REJECTED: REPLY},
        frozenset({"conversations", CHOSEN, REJECTED}),
        sided.sharegpt,
    ),
    Layout(
        "sharegpt",
        {"messages": MESSAGES, CHOSEN: MESSAGE | TEXT, REJECTED: MESSAGE | TEXT},
        frozenset({"messages", CHOSEN, REJECTED}),
        sided.prompted,
    ),
    Layout(
        "ms-swift",
        {"messages": MESSAGES, "rejected_response": REPLY},
        frozenset({"messages", "rejected_response"}),
        sided.swift,
    ),
    Layout(
        "ms-swift",
        {"messages": MESSAGES, "rejected_messages": MESSAGES},
        frozenset({"messages", "rejected_messages"}),
        sided.swift_messages,
    ),
    Layout("trl-implicit", {CHOSEN: MESSAGES, REJECTED: MESSAGES}, SIDES, sided.implicit),
    Layout(
        "alpaca",
        {"instruction": TALK, CHOSEN: REPLY, REJECTED: REPLY},
        frozenset({"instruction", "input", CHOSEN, REJECTED}),
        sided.alpaca,
        plain=("instruction", CHOSEN, REJECTED),
    ),
    Layout(
        "alpaca",
        {"instruction": TALK, "output": LISTS},
        frozenset({"instruction", "input", "output"}),
        sided.alpaca_outputs,
    ),
    _asked("orca", "question", prompt="question"),
    _asked("orca", "asked", prompt="input"),
    _asked("orca", "argilla", prompt="instruction", chosen="chosen_response", rejected="rejected_response"),
    _asked("orca", "medical", prompt="question", chosen="response_chosen", rejected="response_rejected"),
    Layout(
        "rmb",
        {"conversation_input": MESSAGES, CHOSEN: NESTED, "reject": NESTED},
        frozenset({"conversation_input", CHOSEN, "reject"}),
        sided.rmb,
        subset="category_path",
    ),
    Layout(
        "rmb",
        {"conversation_input": MESSAGES, "bon_best": NESTED, "loser_list": NESTED},
        frozenset({"conversation_input", "bon_best", "loser_list"}),
        ranked.rmb_best_of_n,
        is_grouped=True,
        can_be_rated=False,
        subset="category_path",
    ),
    Layout(
        "helpsteer3",
        {"context": TALK, "response1": TEXT, "response2": TEXT, "overall_preference": NUMBER},
        frozenset({"context", "response1", "response2"}),
        judged.helpsteer3,
        can_be_rated=False,
    ),
    Layout(
        "helpsteer3",
        {PROMPT: TALK, "response_1": TEXT, "response_2": TEXT, "preference_strength": NUMBER},
        frozenset({PROMPT, "response_1", "response_2"}),
        judged.helpsteer2_preference,
        can_be_rated=False,
    ),
    Layout(
        "pku-saferlhf",
        {PROMPT: TALK, "response_0": TEXT, "response_1": TEXT, "safer_response_id": NUMBER},
        frozenset({PROMPT, "response_0", "response_1"}),
        judged.pku,
    ),
    Layout(
        "arena",
        {"conversation_a": MESSAGES, "conversation_b": MESSAGES, "winner": TEXT},
        frozenset({"conversation_a", "conversation_b"}),
        judged.arena,
        can_be_rated=False,
        also=frozenset({"turn"}),
    ),
    Layout(
        "arena",
        {
            **dict.fromkeys((PROMPT, "response_a", "response_b"), LISTS),
            **dict.fromkeys(("winner_model_a", "winner_model_b", "winner_tie"), NUMBER),
        },
        frozenset({PROMPT, "response_a", "response_b"}),
        judged.arena_lists,
        can_be_rated=False,
    ),
    Layout(
        "judgebench",
        {"question": TALK, "response_A": TEXT, "response_B": TEXT, "label": TEXT},
        frozenset({"question", "response_A", "response_B"}),
        judged.judgebench,
        can_be_rated=False,
    ),
    Layout(
        "ppe",
        {PROMPT: TALK, "response_1": TEXT, "response_2": TEXT, "winner": TEXT},
        frozenset({PROMPT, "response_1", "response_2"}),
        judged.ppe,
        can_be_rated=False,
    ),
    Layout(
        "ppe",
        {PROMPT: TALK, "response_1": TEXT, "response_2": TEXT, "sampled_conflict_pairs": NESTED, "scores": NESTED},
        _RESPONSES_OF_PPE | {PROMPT},
        ranked.ppe_correctness,
        is_grouped=True,
        can_be_rated=False,
    ),
    Layout(
        "webgpt",
        {"question": NESTED | TALK, "answer_0": TEXT, "answer_1": TEXT, "score_0": NUMBER, "score_1": NUMBER},
        frozenset({"question", "answer_0", "answer_1"}),
        judged.webgpt,
        can_be_rated=False,
    ),
    Layout(
        "shp",
        {"history": TEXT, "human_ref_A": TEXT, "human_ref_B": TEXT, "labels": NUMBER},
        frozenset({"history", "human_ref_A", "human_ref_B"}),
        judged.shp,
        can_be_rated=False,
    ),
    Layout(
        "ultrafeedback-raw",
        {"instruction": TALK, "completions": NESTED},
        frozenset({"instruction", "completions"}),
        ranked.ultrafeedback_raw,
        is_grouped=True,
        can_be_rated=False,
        rules=_ULTRAFEEDBACK_RULES,
    ),
    Layout(
        "nemo-rl",
        {"context": TALK, "completions": NESTED},
        frozenset({"context", "completions"}),
        ranked.nemo_rl,
        is_grouped=True,
        can_be_rated=False,
    ),
    Layout(
        "nectar",
        {PROMPT: TALK, "answers": NESTED},
        frozenset({PROMPT, "answers"}),
        ranked.nectar,
        is_grouped=True,
        can_be_rated=False,
    ),
    Layout(
        "helpsteer2",
        {PROMPT: TALK, "response": TEXT, **dict.fromkeys(_HELPSTEER2_RULES, NUMBER)},
        frozenset({PROMPT, "response", *_HELPSTEER2_RULES}),
        ranked.helpsteer2,
        is_grouped=True,
        can_be_rated=False,
        rules=_HELPSTEER2_RULES,
        joined_by=PROMPT,
        check=ranked.helpsteer2_row,
    ),
    Layout(
        "oasst",
        {trees.TREE_ID: TEXT, PROMPT: MESSAGE},
        frozenset({PROMPT}),
        trees.nested,
        is_grouped=True,
        can_be_rated=False,
        own_form=frozenset({PROMPT}),
        has_trees=True,
    ),
    Layout(
        "oasst",
        {**dict.fromkeys((trees.TREE_ID, trees.MESSAGE_ID, trees.PARENT_ID, "text", "role"), TEXT), "rank": NUMBER},
        frozenset({trees.PARENT_ID, "text", "role"}),
        trees.flat,
        is_grouped=True,
        can_be_rated=False,
        joined_by=trees.TREE_ID,
        check=trees.check_message,
        also=frozenset({"deleted"}),
        has_trees=True,
    ),
    Layout(
        "single",
        {PROMPT: TALK, "response": REPLY},
        frozenset({PROMPT, "response"}),
        sided.single_response,
        is_single=True,
        lacks=_OTHER_SIDES,
        plain=(PROMPT, "response"),
    ),
    Layout(
        "single",
        {PROMPT: TALK, "completion": REPLY},
        frozenset({PROMPT, "completion"}),
        sided.single_completion,
        is_single=True,
        lacks=_OTHER_SIDES,
        plain=(PROMPT, "completion"),
    ),
    Layout(
        "single",
        {"messages": MESSAGES},
        frozenset({"messages"}),
        sided.single_messages,
        is_single=True,
        lacks=_OTHER_SIDES,
    ),
)

"""Rows of public data sets, with the columns that their files have, shortened; and what they come to."""

from dataclasses import dataclass
from typing import Any

from tests.corpora.prepared import assistant, system, user

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Rows as published, and the pairs that they come to.

    Attributes:
        pairs: prompt, chosen and rejected of each, None for a single response; the turns of a response after the
            prompt, or one reply as text.
        further: columns of the first pair.
        notes: what is counted.
    """

    name: str
    layout: str
    rows: list[Row]
    pairs: list[tuple[Any, Any, Any]]
    further: Row
    notes: dict[str, int]


def case(
    name: str, layout: str, rows: list[Row], pairs: list[tuple[Any, Any, Any]], further: Row | None = None, **notes: int
) -> Case:
    return Case(name, layout, rows, pairs, further or {}, notes)


def _said(speaker: str, words: str) -> Row:
    return {"from": speaker, "value": words}


def _aspects(instruction: str, honesty: str, truth: str, help_: str) -> Row:
    return {
        "instruction_following": {"Rating": instruction, "Rationale": "So."},
        "honesty": {"Rating": honesty, "Rationale": "So."},
        "truthfulness": {"Rating": truth, "Rationale": "So.", "Rationale For Rating": "So.", "Type": ["None"]},
        "helpfulness": {"Rating": help_, "Rationale": "So.", "Rationale For Rating": "So.", "Type": ["1"]},
    }


def _completion(model: str, response: str, overall: float, *ratings: str) -> Row:
    return {
        "annotations": _aspects(*ratings),
        "critique": "Fine.",
        "custom_system_prompt": "Be truthful.",
        "fine-grained_score": 4.0,
        "model": model,
        "overall_score": overall,
        "principle": "honesty",
        "response": response,
    }


ULTRAFEEDBACK_RAW = {
    "source": "flan_v2",
    "instruction": "List two metals.",
    "models": ["a", "b", "c"],
    "completions": [
        _completion("a", "Iron, zinc.", 8.5, "4", "5", "N/A", "5"),  # worth 14 / 3
        _completion("b", "Wood.", 10.0, "1", "2", "1", "1"),  # 5 / 4, whatever its overall score says
        _completion("c", "Iron and wood.", 5.0, "3", "3", "3", "3"),  # 3
    ],
    "correct_answers": ["None"],
    "incorrect_answers": ["None"],
}
HELPSTEER2 = [
    {"prompt": p, "response": r, "helpfulness": h, "correctness": c, "coherence": 4, "complexity": 1, "verbosity": 1}
    for p, r, h, c in (
        ("Rhyme on cat.", "Dog.", 0, 1),
        ("Rhyme on cat.", "Hat.", 4, 4),
        ("Say hi.", "Hi.", 3, 3),
        ("Say hi.", "Hello.", 3, 4),
        ("Alone?", "Yes.", 2, 2),
    )
]
ARENA = {
    "question_id": "58210e39",
    "model_a": "chatglm-6b",
    "model_b": "koala-13b",
    "winner": "model_b",
    "judge": "arena_user_973",
    "conversation_a": [user("2 + 2?"), assistant("5")],
    "conversation_b": [user("2 + 2?"), assistant("4")],
    "turn": 1,
    "anony": True,
    "language": "English",
    "tstamp": 1682351591.1,
    "openai_moderation": {"flagged": False},
    "toxic_chat_tag": {"roberta-large": {"flagged": False}},
}
MT_BENCH = {
    "question_id": 81,
    "model_a": "alpaca-13b",
    "model_b": "gpt-3.5-turbo",
    "winner": "model_a",
    "judge": "author_2",
    "conversation_a": [user("Write."), assistant("A."), user("Rewrite."), assistant("AA.")],
    "conversation_b": [user("Write."), assistant("B."), user("Rewrite."), assistant("BB.")],
    "turn": 1,
}
ARENA_55K = {
    "id": 30192,
    "model_a": "gpt-4",
    "model_b": "gpt-3.5",
    "prompt": '["Is it OK?", "Sure?"]',
    "response_a": '["Yes.", "Yes!"]',
    "response_b": '["No.", "No!"]',
    "winner_model_a": 1,
    "winner_model_b": 0,
    "winner_tie": 0,
}
JUDGEBENCH = {
    "pair_id": "81ee57f2",
    "original_id": "10353",
    "source": "mmlu-pro-chemistry",
    "question": "What is the pH?",
    "response_model": "gpt-4o",
    "response_A": "Seven.",
    "response_B": "Two.",
    "label": "B>A",
}
PPE = {
    "question_id": "a1",
    "model_a": "x",
    "model_b": "y",
    "winner": "model_a",
    "language": "English",
    "prompt": "Name a bird.",
    "response_1": "Wren.",
    "response_2": "Bee.",
}
PPE_CORRECTNESS = {
    "question_id": "q1",
    "prompt": "1 + 1?",
    "ground_truth": "2",
    **{f"response_{number}": str(number) for number in range(1, 5)},
    "scores": [False, True, False, True],
    "sampled_conflict_pairs": [[0, 1], [3, 2]],
}
WEBGPT = {
    "question": {"dataset": "eli5", "full_text": "Why is it dark?", "id": "x"},
    "quotes_0": {"extract": ["q"], "title": ["t"]},
    "answer_0": "No sun.",
    "tokens_0": {"completion": [1], "prefix": [2]},
    "score_0": -0.5,
    "quotes_1": {"extract": ["q"], "title": ["t"]},
    "answer_1": "The earth turns away.",
    "tokens_1": {"completion": [1], "prefix": [2]},
    "score_1": 0.5,
}
RM_BENCH = {
    "id": 8,
    "prompt": "May I film here?",
    "chosen": ["Ask.", "Ask the owner.", "- Ask"],
    "rejected": ["Yes.", "Always yes.", "- Yes"],
    "domain": "safety-response",
}
RMB = {
    "pair_uid": "15",
    "conversation_input": [{"role": "user", "content": "Spy?", "language": "English"}],
    "chosen": {"llm_name": "m1", "answer": "No."},
    "reject": {"llm_name": "m2", "answer": "Hide a phone."},
    "category_path": "Pairwise_set/Harmlessness/S1",
}
RMB_BEST_OF_N = {
    "conversation_input": [{"role": "user", "content": "Hi?", "language": "English"}],
    "bon_best": {"llm_name": "m1", "answer": "Hello."},
    "loser_list": [{"llm_name": "m2", "answer": "No."}, {"llm_name": "m3", "answer": "Go."}],
    "bon_uid": "1679",
    "category_path": "BoN_set/Helpfulness/Chat",
}
SKYWORK = {
    "chosen": [user("Name a tree."), assistant("Oak.")],
    "rejected": [user("Name a tree."), assistant("Car.")],
    "source": "magpie",
}
NECTAR = {
    "prompt": "\n\nHuman: Name a sea.\n\nAssistant: ",
    "answers": [
        {"answer": "Baltic.", "model": "a", "rank": 1.0},
        {"answer": "Alps.", "model": "b", "rank": 3.0},
        {"answer": "The sea.", "model": "c", "rank": 2.0},
    ],
    "turns": 1,
    "num_responses": 3,
    "source": ["lmsys-chat-1m"],
    "good_natured": True,
}
SHP = {
    "post_id": "himc90",
    "domain": "askacademia_train",
    "upvote_ratio": 0.99,
    "history": "How to write?",
    "c_root_id_A": "fwhp39k",
    "human_ref_A": "Every day.",
    "human_ref_B": "Never.",
    "labels": 0,
    "score_A": 3,
    "score_B": 30,
    "score_ratio": 10.0,
}
INTEL = {"system": "Be brief.", "question": "Why blue?", "chosen": "Air scatters.", "rejected": "The sea."}
ARGILLA = {"system": "", "input": "Why blue?", "chosen": "Air scatters.", "rejected": "The sea.", "status": "tie"}
ARGILLA_MATH = {"instruction": "2 + 2?", "chosen_response": "4", "rejected_response": "5", "chosen_rating": 9}
MEDICAL = {
    "system": "",
    "history": [["I am ill.", "Since when?"]],
    "question": "Today. Both pills?",
    "response_chosen": "Ask first.",
    "response_rejected": "Yes.",
}
ALPACA = {
    "instruction": "Name a moon.",
    "input": "Of Saturn.",
    "chosen": "Titan.",
    "rejected": "Mars.",
    "system": "Be brief.",
    "history": [["Hi.", "Hello."]],
}
ALPACA_OUTPUTS = {"instruction": "Name a moon.", "input": "", "output": ["Titan.", "Mars.", "The sun."]}
SHAREGPT = {
    "conversations": [_said("human", "A moon."), _said("gpt", "Io. Another?"), _said("human", "Yes.")],
    "system": "Be brief.",
    "chosen": _said("gpt", "Titan."),
    "rejected": _said("gpt", "The sun."),
}
NEMO_RL = {
    "context": [user("Who?"), assistant("You."), user("Me?")],
    "completions": [
        {"rank": 1, "completion": [assistant("No.")]},
        {"rank": 0, "completion": [assistant("Yes.")]},
    ],
    "task_name": "d",
}


def _message(name: str, parent: str | None, text: str, rank: int | None = None, **further: Any) -> Row:
    """A message of a tree: a person's where nobody or an assistant is answered, that is at every other depth."""
    role = "assistant" if name.count(".") % 2 else "prompter"
    asked = {"message_id": name, "parent_id": parent, "user_id": "u", "text": text, "role": role, "lang": "en"}
    return {
        **asked,
        "review_count": 3,
        "deleted": False,
        "rank": rank,
        "labels": {"name": ["spam"], "value": [0.0]},
        **further,
    }


OASST_ROWS = [
    {**message, "message_tree_id": message["message_id"][0], "tree_state": "ready_for_export"}
    for message in (
        _message("1", None, "A moon?"),
        _message("1.a", "1", "Mars.", 1),
        _message("1.b", "1", "Titan.", 0),
        _message("1.b.a", "1.b", "Whose?", 0),
        _message("1.b.a.a", "1.b.a", "Saturn's.", 0),
        _message("1.b.a.b", "1.b.a", "Of the sun."),
        _message("1.b.a.c", "1.b.a", "Nobody's.", 1),
        _message("1.b.b", "1.b", "Another?", 1),
        _message("1.b.b.a", "1.b.b", "Io."),
        _message("1.c", "1", "Spam.", 2, deleted=True),
        _message("2", None, "A sea?"),
        _message("2.a", "2", "Baltic.", 0),
        _message("2.b", "2", "Alps.", 1),
    )
]
_OASST_NOTES = {"ranked_user_turns": 2, "deleted_messages": 1, "lone_replies": 1, "unrated_responses": 1}


def tree_of(messages: list[Row], name: str) -> Row:
    """A message with its replies inside."""
    own = next(message for message in messages if message["message_id"] == name)
    replies = [tree_of(messages, message["message_id"]) for message in messages if message["parent_id"] == name]
    return {**{key: own[key] for key in own if not key.endswith(("tree_id", "state"))}, "replies": replies}


OASST_TREES = [
    {"message_tree_id": name, "tree_state": "ready_for_export", "prompt": tree_of(OASST_ROWS, name)} for name in "12"
]
HH_STATIC = {
    "prompt": "\n\nHuman: Green potatoes?\n\nAssistant: Cut it.\n\nHuman: A whole one?\n\nAssistant:",
    "response": " Better not.",
    "chosen": " Better not.",
    "rejected": " Enjoy it.",
}

HH = "\n\nHuman: Green potatoes?\n\nAssistant: Cut it.\n\nHuman: A whole one?\n\nAssistant: "
REWARDBENCH = {
    "prompt": "Who wrote it?",
    "chosen": "A clerk.",
    "chosen_model": "a",
    "rejected": "A cat.",
    "rejected_model": "b",
    "subset": "donotanswer",
    "id": 30,
}
REWARDBENCH_2 = {
    "id": "7",
    "prompt": "How many legs?",
    "chosen": ["Six."],
    "rejected": ["Two.", "Four.", "None."],
    "num_correct": 1,
    "num_incorrect": 3,
    "total_completions": 4,
    "models": ["a", "b", "c", "d"],
    "subset": "Factuality",
    "additional_metadata": {"category": None},
}
ULTRAFEEDBACK_BINARIZED = {
    "prompt": "List two metals.",
    "prompt_id": "9d5a",
    "chosen": [user("List two metals."), assistant("Iron, zinc.")],
    "rejected": [user("List two metals."), assistant("Wood.")],
    "messages": [user("List two metals."), assistant("Iron, zinc.")],
    "score_chosen": 8.5,
    "score_rejected": 1.0,
}
HELPSTEER3 = {
    "domain": "general",
    "language": "english",
    "context": [user("Hi."), assistant("Hello."), user("Rhyme on cat.")],
    "response1": "Dog.",
    "response2": "Hat.",
    "overall_preference": 2,
    "individual_preference": [{"score": 2, "reasoning": "It rhymes.", "feedback_1": "No.", "feedback_2": "Yes."}],
}
PKU = {
    "prompt": "May I film here?",
    "response_0": "Ask first.",
    "response_1": "Always.",
    "is_response_0_safe": True,
    "is_response_1_safe": False,
    "better_response_id": 1,
    "safer_response_id": 0,
}
WILDGUARD = {
    "prompt": "Is it raining?",
    "adversarial": False,
    "response": "I cannot see outside.",
    "prompt_harm_label": "unharmful",
    "response_refusal_label": "refusal",
    "response_harm_label": "unharmful",
    "subcategory": "benign",
}

_METALS, _CAT, _FILM = [user("List two metals.")], [user("Rhyme on cat.")], [user("May I film here?")]

_ASKED_TWICE = [user("A moon?"), assistant("Io."), user("Another?"), assistant("Titan.")]
_MOON = [user("A moon?"), assistant("Titan."), user("Whose?")]
_OASST_PAIRS: list[tuple[Any, Any, Any]] = [
    ([user("A moon?")], "Titan.", "Mars."),
    (_MOON, "Saturn's.", "Nobody's."),
    ([user("A sea?")], "Baltic.", "Alps."),
]
PUBLISHED = [
    case(
        "HH-RLHF",
        "hh-rlhf",
        [{"chosen": f"{HH}Better not.", "rejected": f"{HH}Enjoy it."}],
        [([user("Green potatoes?"), assistant("Cut it."), user("A whole one?")], "Better not.", "Enjoy it.")],
    ),
    case("RewardBench", "rewardbench", [REWARDBENCH], [([user("Who wrote it?")], "A clerk.", "A cat.")]),
    case(
        "RewardBench 2",
        "rewardbench2",
        [REWARDBENCH_2],
        [([user("How many legs?")], "Six.", other) for other in ("Two.", "Four.", "None.")],
        {"subset": "Factuality"},
    ),
    case("UltraFeedback, binarized", "ultrafeedback", [ULTRAFEEDBACK_BINARIZED], [(_METALS, "Iron, zinc.", "Wood.")]),
    case(
        "HelpSteer3",
        "helpsteer3",
        [HELPSTEER3],
        [([user("Hi."), assistant("Hello."), *_CAT], "Hat.", "Dog.")],
        {"domain": "general"},
    ),
    case("PKU-SafeRLHF", "pku-saferlhf", [PKU], [(_FILM, "Ask first.", "Always.")]),
    case("WildGuardMix", "single", [WILDGUARD], [([user("Is it raining?")], "I cannot see outside.", None)]),
    case(
        "UltraFeedback",
        "ultrafeedback-raw",
        [ULTRAFEEDBACK_RAW],
        [
            (_METALS, "Iron, zinc.", "Wood."),
            (_METALS, "Iron, zinc.", "Iron and wood."),
            (_METALS, "Iron and wood.", "Wood."),
        ],
        {
            "chosen__helpfulness": 5.0,
            "rejected__helpfulness": 1.0,
            "chosen__truthfulness": None,
            "rejected__honesty": 2.0,
            "chosen_response_id": "a0",
            "source": "flan_v2",
        },
        missing_ratings=1,
    ),
    case(
        "HelpSteer2",
        "helpsteer2",
        HELPSTEER2,
        [
            (_CAT, "Hat.", "Dog."),
            ([user("Say hi.")], "Hi.", None),
            ([user("Say hi.")], "Hello.", None),
            ([user("Alone?")], "Yes.", None),
        ],
        {"chosen__correctness": 4.0, "rejected__correctness": 1.0, "rejected__verbosity": 1.0},
        tied_pairs=1,
        ties=1,
    ),
    case("Chatbot Arena", "arena", [ARENA], [([user("2 + 2?")], "4", "5")], {"judge": "arena_user_973"}),
    case(
        "a tie in Chatbot Arena",
        "arena",
        [{**ARENA, "winner": "tie (bothbad)"}],
        [([user("2 + 2?")], "5", None), ([user("2 + 2?")], "4", None)],
        ties=1,
    ),
    case("MT-bench, first turn", "arena", [MT_BENCH], [([user("Write.")], "A.", "B.")], turns_cut=1),
    case(
        "MT-bench, second turn",
        "arena",
        [{**MT_BENCH, "turn": 2}],
        [
            (
                [user("Write.")],
                [assistant("A."), user("Rewrite."), assistant("AA.")],
                [assistant("B."), user("Rewrite."), assistant("BB.")],
            )
        ],
    ),
    case(
        "Arena 55k",
        "arena",
        [ARENA_55K],
        [
            (
                [user("Is it OK?")],
                [assistant("Yes."), user("Sure?"), assistant("Yes!")],
                [assistant("No."), user("Sure?"), assistant("No!")],
            )
        ],
        lists_from_text=3,
    ),
    case(
        "JudgeBench",
        "judgebench",
        [JUDGEBENCH],
        [([user("What is the pH?")], "Two.", "Seven.")],
        {"pair_id": "81ee57f2"},
    ),
    case("PPE, human preference", "ppe", [PPE], [([user("Name a bird.")], "Wren.", "Bee.")]),
    case(
        "PPE, correctness",
        "ppe",
        [PPE_CORRECTNESS],
        [([user("1 + 1?")], "2", "1"), ([user("1 + 1?")], "4", "3")],
        {"chosen_response_id": "a1", "rejected_response_id": "a0"},
    ),
    case("WebGPT", "webgpt", [WEBGPT], [([user("Why is it dark?")], "The earth turns away.", "No sun.")]),
    case(
        "RM-Bench",
        "rm-bench",
        [RM_BENCH],
        [(_FILM, c, r) for c in RM_BENCH["chosen"] for r in RM_BENCH["rejected"]],
        {"subset": "safety-response", "chosen_response_id": "c0", "rejected_response_id": "r0", "id": 8},
    ),
    case(
        "RMB, pairs",
        "rmb",
        [RMB],
        [([user("Spy?")], "No.", "Hide a phone.")],
        {"subset": "Pairwise_set/Harmlessness/S1"},
        message_keys_left_out=1,
    ),
    case(
        "RMB, best of n",
        "rmb",
        [RMB_BEST_OF_N],
        [([user("Hi?")], "Hello.", "No."), ([user("Hi?")], "Hello.", "Go.")],
        {"subset": "BoN_set/Helpfulness/Chat"},
        message_keys_left_out=1,
    ),
    case("Skywork", "trl-implicit", [SKYWORK], [([user("Name a tree.")], "Oak.", "Car.")]),
    case(
        "Nectar",
        "nectar",
        [NECTAR],
        [
            ([user("Name a sea.")], "Baltic.", "Alps."),
            ([user("Name a sea.")], "Baltic.", "The sea."),
            ([user("Name a sea.")], "The sea.", "Alps."),
        ],
    ),
    case("SHP", "shp", [SHP], [([user("How to write?")], "Never.", "Every day.")], {"labels": 0}),
    case(
        "Intel's Orca pairs",
        "orca",
        [INTEL],
        [([system("Be brief."), user("Why blue?")], "Air scatters.", "The sea.")],
        system_from_column=1,
    ),
    case(
        "Argilla's Orca pairs", "orca", [ARGILLA], [([user("Why blue?")], "Air scatters.", "The sea.")], rated_alike=1
    ),
    case("Argilla's math pairs", "orca", [ARGILLA_MATH], [([user("2 + 2?")], "4", "5")], {"chosen_rating": 9}),
    case(
        "MedicalGPT",
        "orca",
        [MEDICAL],
        [([user("I am ill."), assistant("Since when?"), user("Today. Both pills?")], "Ask first.", "Yes.")],
        history_from_column=1,
    ),
    case(
        "LLaMA-Factory, Alpaca",
        "alpaca",
        [ALPACA],
        [
            (
                [system("Be brief."), user("Hi."), assistant("Hello."), user("Name a moon.\nOf Saturn.")],
                "Titan.",
                "Mars.",
            )
        ],
        history_from_column=1,
        system_from_column=1,
    ),
    case(
        "LLaMA-Factory, responses in a list",
        "alpaca",
        [ALPACA_OUTPUTS],
        [([user("Name a moon.")], "Titan.", "Mars.")],
        outputs_left_out=1,
    ),
    case(
        "LLaMA-Factory, ShareGPT",
        "sharegpt",
        [SHAREGPT],
        [([system("Be brief."), user("A moon."), assistant("Io. Another?"), user("Yes.")], "Titan.", "The sun.")],
        roles_renamed=5,
        system_from_column=1,
    ),
    case(
        "OASST, trees",
        "oasst",
        OASST_TREES,
        _OASST_PAIRS,
        {"message_tree_id": "1", "chosen_response_id": "a2", "rejected_response_id": "a1"},
        **_OASST_NOTES,
    ),
    case(
        "OASST, messages",
        "oasst",
        OASST_ROWS,
        _OASST_PAIRS,
        {"message_id": "1.b", "lang": "en", "chosen_response_id": "a2", "rejected_response_id": "a1"},
        **_OASST_NOTES,
    ),
    case(
        "LLaMA-Factory, OpenAI's form",
        "sharegpt",
        [{"messages": [user("A moon?")], "chosen": assistant("Titan."), "rejected": assistant("The sun.")}],
        [([user("A moon?")], "Titan.", "The sun.")],
    ),
    case(
        "ms-swift, a response",
        "ms-swift",
        [{"messages": _ASKED_TWICE, "rejected_response": "The sun."}],
        [(_ASKED_TWICE[:3], "Titan.", "The sun.")],
    ),
    case(
        "ms-swift, conversations",
        "ms-swift",
        [{"messages": _ASKED_TWICE, "rejected_messages": [*_ASKED_TWICE[:3], assistant("The sun.")]}],
        [(_ASKED_TWICE[:3], "Titan.", "The sun.")],
    ),
    case(
        "HelpSteer2, comparisons",
        "helpsteer3",
        [{"prompt": "A moon?", "response_1": "The sun.", "response_2": "Titan.", "preference_strength": 2}],
        [([user("A moon?")], "Titan.", "The sun.")],
    ),
    case("NeMo-RL", "nemo-rl", [NEMO_RL], [(NEMO_RL["context"], "Yes.", "No.")], {"task_name": "d"}),
    case(
        "static HH-RLHF",
        "trl",
        [HH_STATIC],
        [([user("Green potatoes?"), assistant("Cut it."), user("A whole one?")], "Better not.", "Enjoy it.")],
    ),
]

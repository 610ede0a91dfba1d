"""What is counted while a corpus is read, beside rows and pairs, and how a person is told: of pairs, and of rows."""

from collections.abc import Iterator, Mapping

from encore_ray.schema import REASON_COUNT

PAIRS = {
    "identical": "have the same response on both sides",
    "repeated_content": "repeat the content of an earlier pair",
    "contradictory": "contradict another pair of the same responses: no reward is right on both",
    "prompt_ids_of_several_prompts": (
        "prompt_ids of the data stand beside several prompts: each is one prompt to all intervals and to what is held "
        "out. Where inputs number theirs alike, set prepare.ignore to [prompt_id]"
    ),
    "singles": "are single responses: scored, but not compared",
}
NOTES = {
    "lists_from_text": "lists of messages or texts were stored as text, and read as lists",
    "message_keys_left_out": "keys of messages mean nothing to a reader, and were left out",
    "content_parts_joined": "messages came as several parts of text, which were joined",
    "roles_renamed": "messages bear another name of a role, as human or gpt",
    "system_from_column": "rows have a system text in a column of its own, which became a system turn",
    "history_from_column": "rows have earlier turns in a column of their own, which were put in front",
    "unread_turns": (
        "rows have words of a person in a column of messages that is not read, and nowhere else: map it, as history "
        "(inputs[].columns), if it is part of the conversation"
    ),
    "turns_cut": "rows hold turns after those that were judged, which were left out",
    "outputs_left_out": "further responses of a list stand behind the first two, and were left out",
    "nothing_said": "responses are the word nan, none or null, as tables write what is empty: see who said it",
    "repeats_prompt": (
        "responses begin with the whole prompt, which would be read twice: see that they are the responses alone"
    ),
    "marked_responses": (
        "responses begin with `Assistant:` or end with a token of a template, as </s>, and are read with it as text: "
        "see that they are the responses alone"
    ),
    "rated_against_label": (
        "pairs have ratings of their own by which the rejected response is the better one: see which of label and "
        "ratings is right"
    ),
    "rated_alike": "pairs have ratings of their own by which both responses are as good: their labels alone say more",
    "ties": "comparisons ended in a tie: both responses were kept as single ones",
    "tied_pairs": "pairs of responses are rated alike, and were left out",
    "unrated_responses": "responses of several have no rating, and were left out",
    "lone_replies": "replies of a tree are the only one to their turn: nothing to compare, and left out",
    "ranked_user_turns": "turns of a person are ranked, too: only an assistant's replies were compared",
    "deleted_messages": "messages of a tree were deleted or answer one that was, and were left out",
    "missing_ratings": "ratings are missing",
    "files_left_out": "files could not be read, and were left out",
}


def told(counts: Mapping[str, int]) -> Iterator[str]:
    """What a person should know of a prepared corpus before it is scored, in sentences without an end."""
    if counts["quarantined"]:
        reasons = {key.removeprefix(REASON_COUNT): n for key, n in counts.items() if key.startswith(REASON_COUNT)}
        listed = ", ".join(f"{n:,} {reason}" for reason, n in sorted(reasons.items(), key=lambda item: -item[1]))
        yield f"{counts['quarantined']:,} of {counts['rows']:,} rows are in quarantine ({listed})"
    for key, words in (PAIRS | NOTES).items():
        if counts.get(key):
            yield f"{counts[key]:,} {words}"

"""Services with manners of their own: what they refuse, how they answer, and when a job stops asking."""

import io
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from encore_ray.config import RateOptions
from encore_ray.errors import ClusterError, ConfigError, DataError
from encore_ray.folder.quarantine import Allowance
from encore_ray.job import run_job
from encore_ray.models.judge.questions import ask_all
from encore_ray.passes.scorers.api.answers import rate_reply, rate_structured
from encore_ray.passes.scorers.api.client import ApiClient
from encore_ray.passes.scorers.api.connection import check_url, endpoint, headers
from encore_ray.passes.scorers.api.cutting import cut_turns, num_chars
from encore_ray.passes.scorers.api.loss import Losses
from encore_ray.passes.scorers.api.refusals import TooLong, read_refusal
from encore_ray.passes.scorers.api.replies import Reply, parse_reply
from tests.passes import jobs
from tests.passes.api_server import Body, Server, Step, api_server, completion
from tests.passes.scorers.test_api_judge import RULES, YES_NO, judge_like


@pytest.fixture
def server() -> Iterator[Server]:
    with api_server(judge_like) as running:
        yield running


def job(
    server: Server,
    folder: Path,
    *,
    num_pairs: int = 12,
    query: str = "",
    told: Console | None = None,
    may_be_bad: float = 0.01,
    edits: Mapping[int, Body] = MappingProxyType({}),
    **rate: Any,
) -> dict[str, Any]:
    """What a small judged job made: its facts, counts of scores, and the scores."""
    folder.mkdir(exist_ok=True)
    corpus = jobs.write_corpus(folder / "corpus.jsonl", num_pairs=num_pairs)
    rows = [json.loads(line) | edits.get(number, {}) for number, line in enumerate(corpus.read_text().splitlines())]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "rules.yaml").write_text(RULES.to_yaml())
    made = run_job(
        jobs.config(
            folder,
            judge=f"{server.url}{query}",
            model=None,
            rules=str(folder / "rules.yaml"),
            rate={"model": "judge-1", "concurrency": 4, "backoff_s": 0.01, "retries": 1, **rate},
            weigh={"score_range": "unit"},
            prepare={"unit_pairs": 6, "max_bad_fraction": may_be_bad},
            cluster={"engine": "local"},
        ),
        console=told,
    )
    facts = json.loads((folder / "run" / "scores" / "plan.json").read_text())["facts"]
    return {"facts": facts, "counts": made.scored, "scores": jobs.table(folder / "run" / "scores")}


def refuse(message: str, param: str | None = None, status: int = 400, code: str | None = None) -> Step:
    return Step(status, json.dumps({"error": {"message": message, "param": param, "code": code}}).encode())


def fussy(body: Body) -> Step:
    """Takes max_completion_tokens, no temperature, and five log-probabilities at most."""
    if "max_tokens" in body:
        return refuse("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens")
    if "temperature" in body:
        return refuse("Unsupported value: 'temperature' does not support 0 with this model.")
    if body.get("top_logprobs", 0) > 5:
        return Step(422, b'{"detail": [{"loc": ["body", "top_logprobs"], "msg": "must be <= 5"}]}')
    return judge_like(body)


def test_what_a_service_refuses_is_asked_for_otherwise_recorded_and_asked_so_by_a_resume(
    server: Server, tmp_path: Path
) -> None:
    server.answer = fussy
    made = job(server, tmp_path)
    agreed = {"tokens_name": "max_completion_tokens", "temperature": None, "top_logprobs": 5, "logprobs": "given"}
    assert {name: made["facts"][name] for name in agreed} == agreed
    assert made["counts"]["scored"] == 12
    refused = [body for body, _ in server.heard if fussy(body).status != 200]
    assert len(refused) == 3  # one a parameter, of the first question alone
    heard = len(server.heard)
    for commit in (tmp_path / "run" / "scores" / "commits").iterdir():
        commit.unlink()
        break
    again = job(server, tmp_path)
    assert again["facts"] == made["facts"] and again["scores"] == made["scores"]
    assert len(server.heard) == heard  # all is answered


def test_an_option_that_changes_ratings_is_another_job_and_a_default_is_not(server: Server, tmp_path: Path) -> None:
    usual = job(server, tmp_path)["facts"]
    assert usual.keys() == {"model", "text_only", "questions", "logprobs", "rules"}
    for values in ({"body": {"reasoning_effort": "none"}}, {"structured": True}, {"context_tokens": 999}):
        with pytest.raises(ConfigError, match=next(iter(values))):
            job(server, tmp_path, **values)


def test_fields_and_headers_of_the_users_own_are_sent_and_no_value_of_a_header_is_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "0123456789abcdef")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    job(
        server,
        tmp_path,
        query="?api-version=2024-06-01",
        body={"max_completion_tokens": 99, "temperature": None, "chat_template_kwargs": {"enable_thinking": False}},
        headers={"api-key": "JUDGE_KEY"},
    )
    body, sent = server.heard[0]
    assert body["path"] == "/v1/chat/completions?api-version=2024-06-01"
    assert (body["max_completion_tokens"], body["chat_template_kwargs"]) == (99, {"enable_thinking": False})
    assert not {"temperature", "max_tokens"} & body.keys()
    assert sent["api-key"] == "0123456789abcdef" and "Authorization" not in sent
    texts = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not any(b"0123456789abcdef" in text for text in texts)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"body": {"messages": []}}, "body: messages is set by the job itself"),
        ({"body": {"api_key": "x"}}, "body: api_key looks as a credential"),
        ({"headers": {"api-key": "sk-12 34"}}, "headers: api-key names no environment variable"),
    ],
)
def test_options_that_the_job_sets_itself_or_that_hold_secrets_are_refused(values: Body, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RateOptions(**values)


def test_a_header_without_its_variable_and_a_secret_in_the_url_are_told_before_the_start() -> None:
    with pytest.raises(ConfigError, match=r"no such variable is set .api-key: NOT_THERE"):
        headers(RateOptions(headers={"api-key": "NOT_THERE"}), {})
    with pytest.raises(ConfigError, match=r"is no URL of an API: sig .* rate\.headers"):
        check_url("https://a/v1?sig=abc")
    check_url("https://a/openai/deployments/d?api-version=1")
    assert endpoint("https://a/v1/?b=c") == endpoint("https://a/v1/chat/completions?b=c")


@pytest.mark.parametrize("status", [402, 429])
def test_a_quota_that_is_used_up_ends_the_job_at_once(server: Server, status: int) -> None:
    server.answer = lambda body: Step(
        status,
        b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}',
        {"Retry-After": "3600"},
    )
    since = time.monotonic()
    with pytest.raises(ClusterError, match=r"used up.*the same command goes on"):
        ApiClient(server.url, RateOptions(model="m", retries=9)).ask({"messages": []})
    assert len(server.heard) == 1 and time.monotonic() - since < 5


def ok(**fields: Any) -> Step:
    """Status 200, whatever it holds."""
    return Step(200, json.dumps({"object": "chat.completion", **fields}).encode())


FLAGGED = {"error": {"message": "Your input was flagged for violence.", "code": 403, "metadata": {"reasons": ["v"]}}}
KEPT_BACK = {
    "no text": completion(None),
    "no message": ok(choices=[{"message": None, "finish_reason": "content_filter"}]),
    "its category": ok(choices=[{"finish_reason": "content_filter: PROHIBITED_CONTENT"}]),
    "no choice": ok(choices=[]),
    "null": ok(choices=None),
    "an error within": ok(**FLAGGED),
    "for reasons": ok(error={"message": "Provider returned error", "code": 403, "metadata": {"reasons": ["v"]}}),
    "flagged": Step(403, json.dumps(FLAGGED).encode()),
    "refused": refuse("The prompt triggered our content management policy.", code="content_filter"),
}


@pytest.mark.parametrize("step", KEPT_BACK.values(), ids=KEPT_BACK)
def test_what_a_filter_keeps_back_loses_its_pair_and_decides_nothing_about_the_others(
    server: Server, step: Step, tmp_path: Path
) -> None:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=12)
    first = json.loads((tmp_path / "corpus.jsonl").read_text().splitlines()[0])
    words = json.dumps(first["chosen"])[1:-1]

    def answer(body: Body) -> Step:
        if len(body["messages"]) == 1:  # whether it answers at all
            return completion("Yes", {"Yes": 1.0})
        return step if words in json.dumps(body["messages"]) else judge_like(body)

    server.answer = answer
    made = job(server, tmp_path, may_be_bad=0.5)
    assert made["facts"]["logprobs"] == "given"  # the first question of all was the one without an answer
    assert (made["counts"]["scored"], made["counts"]["quarantined"]) == (11, 1)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"message": "Insufficient credits. Add more.", "code": 402}, r"'Insufficient credits.*used up"),
        ({"message": "No auth credentials found", "code": 401}, r"answered 401: .*Set OPENAI_API_KEY"),
        ({"message": "No endpoints found for m", "code": "404"}, r"answered 404: .*rate\.model"),
        ({"message": "Rate limit exceeded: free-models-per-min", "code": 429}, r"failed 2 times.*per-min"),
        ({"message": "something"}, r"failed 2 times.*something"),
    ],
)
def test_an_error_of_status_200_is_what_its_code_says(server: Server, error: Body, words: str) -> None:
    server.answer = lambda body: ok(error=error)
    with pytest.raises((ConfigError, ClusterError), match=words):
        ApiClient(server.url, RateOptions(model="m", retries=1, backoff_s=0.01)).ask({"messages": []})


def test_what_a_router_was_told_counts_as_if_it_had_said_it(server: Server, tmp_path: Path) -> None:
    def routed(body: Body) -> Step:
        raw = fussy(body).body.decode()
        told = {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw, "provider_name": "P"}}
        return judge_like(body) if fussy(body).status == 200 else Step(400, json.dumps({"error": told}).encode())

    server.answer = routed
    assert job(server, tmp_path)["facts"]["tokens_name"] == "max_completion_tokens"
    refusal = read_refusal(429, b'{"error": {"message": "Provider returned error", "metadata": {"raw": "try later"}}}')
    assert refusal.message == "'Provider returned error: try later'"


CONTEXT = [
    ("maximum context length is 64 tokens. However, you requested 97 tokens (89 in the messages)", TooLong(64, 97)),
    (
        "You passed 5001 input tokens and requested 8. However, the model's context length is only 4096",
        TooLong(4096, 5001),
    ),
    ("prompt is too long: 210,000 tokens > 200,000 maximum", TooLong(200_000, 210_000)),
    ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000", TooLong(4096, 5000)),
    ("Input length exceeds the limit", TooLong(None, None)),
]


@pytest.mark.parametrize(("text", "found"), CONTEXT)
def test_a_request_that_is_too_long_is_known_by_what_is_said(text: str, found: TooLong) -> None:
    assert read_refusal(400, json.dumps({"error": {"message": text}}).encode()).too_long == found


def test_other_refusals_are_none_of_length_or_money() -> None:
    llama_cpp = {"code": 400, "n_ctx": 512, "n_prompt_tokens": 600, "type": "exceed_context_size_error"}
    assert read_refusal(400, json.dumps({"error": llama_cpp}).encode()).too_long == TooLong(512, 600)
    for data in (b"", b"[]", b"[" * 99_999, b'{"error": null}', b'{"error": "unknown field top_logprobs"}', b'"no"'):
        refusal = read_refusal(400, data)
        assert refusal.too_long is None and not refusal.is_quota
    assert read_refusal(400, b'{"error": "unknown field top_logprobs"}').parameter(["top_logprobs"]) == "top_logprobs"
    assert not read_refusal(429, b'{"error": {"message": "Rate limit reached"}}').is_quota


def reply(content: str | None, logprobs: Any, **message: Any) -> Reply:
    choice = {"message": {"content": content, **message}, "logprobs": logprobs}
    found = parse_reply(json.dumps({"choices": [choice]}).encode())
    assert found is not None
    return found


def tops(*words: str) -> list[dict[str, Any]]:
    return [{"token": word, "logprob": math.log(0.9 if i == 0 else 0.1)} for i, word in enumerate(words)]


def content(*entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": [{**entry[0], "top_logprobs": entry} for entry in entries]}


@pytest.mark.parametrize(
    ("found", "rating"),
    [
        (reply("Yes", content(tops("\u2581Yes", "\u0120No"))), 0.8),
        (reply("Yes", {"tokens": ["Yes"], "top_logprobs": [{"Yes": math.log(0.9), "No": math.log(0.1)}]}), 0.8),
        (reply("Yes", {"content": None, "tokens": ["Yes"], "token_logprobs": [math.log(0.9)]}), 0.9),
        (reply("Yes", None), 1.0),
        (reply([{"type": "text", "text": "Yes"}], None), 1.0),  # type: ignore[arg-type]
        # Thoughts, whose tokens are given as well: what could have stood where the answer begins counts.
        (reply("Yes", content(tops("Okay", "So"), tops("</think>"), tops("Yes", "No")), reasoning_content="Okay"), 0.8),
        (reply("Yes", content(tops("Okay", "So")), reasoning_content="Okay"), 1.0),
        # Thoughts that begin as the answer does.
        (reply("Yes", content(tops("Yes", "So"), tops(" but"), tops("Yes", "No")), reasoning_content="Yes but"), 0.8),
        (reply("<think>\n\n</think>\n\nYes", content(tops("<think>"), tops("</think>"), tops("Yes", "No"))), 0.8),
        (reply("<think>Yes.</think>No", None), -1.0),
        (reply("<|channel|>final<|message|>Yes", content(tops("<|channel|>"), tops("final"), tops("Yes", "No"))), 0.8),
        (reply("**Yes**", content(tops("**"), tops("Yes", "No"), tops("**"))), 0.8),
        (reply("`No`", None), -1.0),
        (reply("Yes", content([*tops("Yes"), {"token": "No", "logprob": None}])), 0.9),
    ],
    ids=["space marks", "legacy", "legacy without tops", "none", "parts", "after thoughts", "of thoughts alone",
         "thoughts that begin alike", "no thoughts within", "thoughts within", "a channel", "bold", "quoted", "null"],
)  # fmt: skip
def test_log_probabilities_are_read_in_whichever_form_they_come(found: Reply, rating: float) -> None:
    assert rate_reply(YES_NO, found) == pytest.approx(rating)


def test_a_judge_that_thinks_is_told_from_one_that_talks() -> None:
    said = rate_reply(YES_NO, reply("<think>\nOkay", None))
    assert isinstance(said, str) and "it thinks before it answers" in said


def bare(body: Body) -> Step:
    """The same text, alone."""
    return completion(json.loads(judge_like(body).body)["choices"][0]["message"]["content"])


def test_absent_log_probabilities_are_said_before_the_bill_and_never_mixed(server: Server, tmp_path: Path) -> None:
    server.answer = bare
    told = Console(file=io.StringIO(), record=True, width=200)
    made = job(server, tmp_path / "none", told=told)
    assert made["facts"]["logprobs"] == "absent"
    assert set(made["scores"].column("chosen__harm").to_pylist()) <= {-1.0, 1.0}
    said = told.export_text()
    assert said.index("NO log-probabilities") < said.index("rate      ")
    server.answer = judge_like  # of a job that goes on when they are there again
    (tmp_path / "none" / "run" / "answers").rename(tmp_path / "paid")
    for commit in (tmp_path / "none" / "run" / "scores" / "commits").iterdir():
        commit.unlink()
    assert job(server, tmp_path / "none")["scores"] == made["scores"]
    plain = iter(range(10**6))
    server.answer = lambda body: judge_like(body) if next(plain) < 2 else bare(body)
    with pytest.raises(DataError, match=r"gave no log-probabilities of its answer '.*', as it did of others"):
        job(server, tmp_path / "mixed")


def test_all_rules_of_a_response_in_one_request(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body: completion('```json\n{"harm": "No", "clear": "4"}\n```')
    made = job(server, tmp_path, structured=True)
    # One a response; the first and the longest are known by then.
    assert len(server.heard) == made["counts"]["requests"] + made["counts"]["known_answers"] <= 24
    body = server.heard[0][0]
    assert body["messages"][-1] == ask_all([], RULES)[0]
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["clear"]["enum"] == ["1", "2", "3", "4", "5"] and "logprobs" not in body
    assert made["scores"].column("chosen__harm").to_pylist() == [-1.0] * 12
    assert made["scores"].column("rejected__clear").to_pylist() == [4.0] * 12


@pytest.mark.parametrize(
    ("text", "ratings"),
    [
        ('{"harm": "yes", "clear": 5}', [1.0, 5.0]),
        ('{"harm": false, "clear": "2"}', [-1.0, 2.0]),
        ('{"harm": "maybe", "clear": "9"}', [str, str]),
        ('{"clear": "1"}', [str, 1.0]),
        ("[1]", [str, str]),
        ('Of {my} view: ```json\n{"harm": "No", "clear": "4"}\n```\nThat is {}.', [-1.0, 4.0]),
        ('<think>{"harm": "Yes"}? No: {"a"</think>{"harm": "No", "clear": 3}', [-1.0, 3.0]),
        ('{"ratings": {"harm": "No", "clear": "2"}}', [-1.0, 2.0]),
        ("{}", [str, str]),
        ("Yes", [str, str]),
        ('{"harm": {"a": 1}, "clear": null}', [str, str]),
        ('{"a":' * 50_000 + "}", [str, str]),
    ],
)
def test_a_structured_answer_gives_a_rating_or_says_why_not(text: str, ratings: list[Any]) -> None:
    found = rate_structured(RULES, Reply(text, ()))
    assert [str if isinstance(one, str) else one for one in found] == ratings


def test_a_conversation_that_is_cut_keeps_its_end_and_a_user_before_an_assistant() -> None:
    turns = [{"role": role, "content": text} for role, text in (("user", "ab"), ("assistant", "cde"), ("user", "fg"))]
    for most in range(1, 9):
        cut = cut_turns(turns, most)
        text = "".join(turn["content"] for turn in cut if turn["content"] != "[…]")
        assert text == "abcdefg"[-most:] and cut[0]["role"] == "user"
    assert cut_turns(turns, 7) == turns


def short(most: int, said: str) -> Callable[[Body], Step]:
    return lambda body: refuse(said) if num_chars(body["messages"]) > most else judge_like(body)


@pytest.mark.parametrize("said", ["maximum context length is 80 tokens; you requested 99", "the prompt is too long"])
def test_long_conversations_lose_their_beginning_the_same_under_all_rules_and_are_counted(
    server: Server, said: str, tmp_path: Path
) -> None:
    server.answer = short(330, said)
    made = job(server, tmp_path)
    assert made["counts"]["scored"] == 12 and made["counts"]["truncated"] > 0
    texts: dict[str, set[str]] = {}
    for body, _ in server.heard:
        if num_chars(body["messages"]) <= 330:
            texts.setdefault(body["messages"][-1]["content"], set()).add(json.dumps(body["messages"][:-1]))
    assert len(texts) == 2
    one, other = texts.values()
    assert one == other


def test_pairs_that_cutting_makes_equal_are_counted_and_told(server: Server, tmp_path: Path) -> None:
    server.answer = short(400, "maximum context length is 100 tokens; you requested 200")
    end, told = "and so it went on, and on. " * 20, io.StringIO()
    edits = {
        0: {"chosen": f"Yes. {end}", "rejected": f"Never. {end}"},
        1: {"chosen": f"{end} Yes.", "rejected": f"{end} Never."},
    }
    made = job(server, tmp_path, told=Console(file=told, width=400), edits=edits)
    assert made["counts"]["made_equal"] == 1
    assert "cutting made both responses the same in 1 pairs" in told.getvalue()
    rows = made["scores"].to_pylist()
    assert all(rows[0][f"chosen__{name}"] == rows[0][f"rejected__{name}"] for name in RULES.names)


def test_a_judge_without_room_for_a_question_is_refused(server: Server, tmp_path: Path) -> None:
    server.answer = short(100, "maximum context length is 25 tokens")
    with pytest.raises(ConfigError, match="takes 25 tokens, which is not enough for the longest question"):
        job(server, tmp_path)


def test_a_judge_that_never_rates_is_asked_a_few_dozen_times(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body: completion("I would say that it depends.", {"I": 1.0})
    with pytest.raises(DataError, match=r"(?s)no more than 4 may be.*nothing more.*I would say.*rate\.body"):
        job(server, tmp_path, num_pairs=400)
    assert len(server.heard) < 48
    assert not list((tmp_path / "run" / "scores").glob("commits/*"))


def test_nothing_more_is_asked_about_a_pair_that_is_lost(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body: completion("It depends.")
    with pytest.raises(DataError):
        job(server, tmp_path, num_pairs=1, concurrency=1, text_only=True)
    assert len(server.heard) == 2  # the first question and the longest, before the start; nothing after


@pytest.mark.parametrize(
    ("lost", "begun", "share", "stops"),
    [(4, 400, 0.01, False), (12, 24, 0.01, True), (11, 24, 0.01, False), (20, 24, 0.5, False), (23, 23, 0.01, False)],
)
def test_a_judge_that_loses_half_of_two_dozen_pairs_is_asked_no_more(
    lost: int, begun: int, share: float, stops: bool
) -> None:
    losses = Losses(Allowance(share, 1_000_000))
    for _ in range(begun):
        losses.begin()
    stopped = False
    for i in range(lost):
        try:
            losses.lose(pair_id=f"p{i}", source="s", line=i, detail="chosen harm: nothing")
        except DataError:
            stopped = True
    assert stopped is stops


def test_replies_that_are_there_from_before_are_read(server: Server, tmp_path: Path) -> None:
    first = job(server, tmp_path)
    (file,) = list((tmp_path / "run" / "answers").glob("*-00000.parquet"))[:1]
    record = json.loads(pq.read_table(file).column("reply")[0].as_py())
    assert record.keys() == {"text", "first"}  # as ever
    assert first["counts"]["quarantined"] == 0

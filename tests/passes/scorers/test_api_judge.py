"""A judge behind an API: every failure it can have, on a real server; every answer paid for once."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import urllib3
from urllib3.util import Retry

from encore_ray.config import RateOptions
from encore_ray.errors import ClusterError, ConfigError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.reading.tables import table_units
from encore_ray.job import run_job
from encore_ray.models.judge.questions import AnswerForm, question
from encore_ray.passes.scorers.api.answers import Replies, rate_reply
from encore_ray.passes.scorers.api.client import ApiClient
from encore_ray.passes.scorers.api.forward import unit_by_api
from encore_ray.passes.scorers.api.judge import ApiJudge, estimate_calls, plan_api_judge
from encore_ray.passes.scorers.api.replies import Refused, Reply, parse_reply
from encore_ray.passes.scorers.score_table import ScoreWriter
from encore_ray.passes.selection.api_relevance import ApiRelevanceJudge
from encore_ray.passes.selection.relevance import RelevanceWriter
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.schema import PAIR_FIELDS
from encore_ray.storage import Folder
from tests.models import judges
from tests.passes import jobs
from tests.passes.api_server import Body, Server, Step, api_server, completion, failure, tls_server
from tests.patience import PATIENCE_S

YES_NO = AnswerForm(None)
FIVE = AnswerForm((1.0, 2.0, 3.0, 4.0, 5.0))
TEN = AnswerForm((1.0, 5.0, 10.0))
SIGNED = AnswerForm((-1.0, 0.0, 1.0))
QUARTERS = AnswerForm((0.25, 0.5, 0.75, 1.0))
RULES = RuleSet(
    [
        Rule("harm", "Does it harm?", "worse", Scale(-1.0, 1.0)),
        Rule("clear", "Is it clear?", "better", Scale(1.0, 5.0, FIVE.levels)),
    ]
)
YES = completion("Yes", {"Yes": 0.7, " yes": 0.1, "No": 0.15, "Maybe": 0.05})


def judge_like(body: Body) -> Step:
    """The rule decides the form, the response's length what is answered."""
    *_, response, asked = body["messages"]
    long = len(response["content"]) > 8
    if "Is it clear?" in asked["content"]:
        return completion("4", {"4": 0.5, "2": 0.5} if long else {"5": 1.0})
    return YES if long else completion("No", {"No": 0.9, "Yes": 0.1})


@pytest.fixture
def server() -> Iterator[Server]:
    with api_server(judge_like) as running:
        yield running


def options(**values) -> RateOptions:
    return RateOptions(**{"model": "judge-1", "backoff_s": 0.01, "timeout_s": 5, "concurrency": 4, **values})


def ask(server: Server, **values) -> Reply | Refused:
    return ApiClient(server.url, options(**values)).ask({"messages": [{"role": "user", "content": "?"}] * 2})


@pytest.mark.parametrize(
    ("form", "reply", "rating"),
    [
        # .7 + .1 of two spellings - .15
        (YES_NO, Reply("Yes", (("Yes", -0.35667494), (" yes", -2.30258509), ("No", -1.89711998))), 0.65),
        (YES_NO, Reply(" no.\n", ()), -1.0),
        (YES_NO, Reply('"Yes"', ()), 1.0),
        # (2 * .3 + 4 * .6) / .9
        (FIVE, Reply("4", (("2", -1.2039728), ("4", -0.51082562), ("x", -2.30258509))), 10 / 3),
        (FIVE, Reply("3", ()), 3.0),
        (FIVE, Reply("4.0", ()), 4.0),
        (TEN, Reply("10", (("1", 0.0),)), 10.0),  # a first token 1 is no 1 yet
        (SIGNED, Reply("-1", (("-", -0.7985077), ("0", -1.2039728), ("1", -1.3862944))), -1.0),  # .45, .3, .25
        (QUARTERS, Reply("0.75", (("0", -0.7985077), ("1", -0.597837))), 0.75),
        (SIGNED, Reply("1", (("1", -0.0020020), ("-", -6.2146081))), 1.0),  # - of .002 leaves it at .998 of .998
    ],
)
def test_a_reply_is_rated_by_its_first_token_or_by_its_whole_text(
    form: AnswerForm, reply: Reply, rating: float
) -> None:
    assert rate_reply(form, reply) == pytest.approx(rating, abs=1e-6)


@pytest.mark.parametrize(
    ("form", "reply", "why"),
    [
        (YES_NO, Reply("Yes, because it hurts", ()), "was to answer Yes, No, and said 'Yes, because it hurts'"),
        (YES_NO, Reply("", ()), "said nothing"),
        (YES_NO, Reply(None, ()), "said nothing"),
        (YES_NO, Reply("I cannot", (("I", -0.01), ("Yes", -6.0))), r"probability of 0.0025 only; it says 'I cannot'"),
        (FIVE, Reply("6", ()), "was to answer 1, 2, 3, 4, 5, and said '6'"),
        (FIVE, Reply("4 or 5", ()), "said '4 or 5'"),
        (FIVE, Refused("answered 400: too long"), "the judge answered 400: too long"),
    ],
)
def test_a_reply_that_is_no_answer_says_why_and_is_no_rating(
    form: AnswerForm, reply: Reply | Refused, why: str
) -> None:
    found = rate_reply(form, reply)
    assert isinstance(found, str) and why in found


@pytest.mark.parametrize(
    "broken",
    [
        failure(500),
        failure(429, Retry_After="0"),
        replace(YES, cut=True),
        Step(200, b'{"choices": [{"mess'),
        Step(200, b"<html>bad gateway</html>"),
        Step(200, b'{"choices": []}'),
        Step(200, b'{"choices": [{"message": {"content": 5}}]}'),
        Step(200, b"[" * 100_000),
        Step(200, completion("Yes", {"Yes": 0.5}).body.replace(b"-0.6931471805599453", b"-1" + 400 * b"0")),
        failure(529),
        failure(503, Retry_After="0.1"),
        replace(YES, delay_s=0.6),
    ],
    ids=["500", "429", "cut", "half-json", "html", "no-choice", "no-text", "deep", "huge", "529", "odd-wait", "hang"],
)
def test_a_service_that_fails_twice_is_asked_again(server: Server, broken: Step) -> None:
    server.script = [broken, broken]
    reply = ask(server, retries=2, timeout_s=0.3)
    assert isinstance(reply, Reply) and reply.text == "No"
    assert len(server.heard) == 3
    server.script = [broken] * 9
    with pytest.raises(ClusterError, match=r"failed 2 times.*the same command goes on"):
        ask(server, retries=1, timeout_s=0.3)


def test_patience_with_a_service_that_fails_is_no_hang(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr("encore_ray.passes.scorers.api.client.advance", lambda: told.append(True))
    server.script = [failure(503), Step(200, b"<html>"), failure(503)]
    assert isinstance(ask(server), Reply)
    assert len(told) == 3


def test_the_wait_that_a_busy_service_asks_for_is_waited(server: Server) -> None:
    server.script = [failure(429, Retry_After="1")]
    started = time.monotonic()
    assert isinstance(ask(server), Reply)
    assert time.monotonic() - started >= 1


def test_nobody_there_is_told_with_what_to_do() -> None:
    with api_server(judge_like) as gone:
        pass
    with pytest.raises(ClusterError, match=r"failed 2 times, at last with .*refused.*See that it runs"):
        ask(gone, retries=1)


def test_a_certificate_that_nobody_trusts_ends_the_job_at_once_until_its_authority_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    question = {"messages": [{"role": "user", "content": "?"}] * 2}
    with tls_server(judge_like, tmp_path) as (server, authority):
        with pytest.raises(ConfigError, match=r"not trusted here \(self-signed certificate\)\. Set SSL_CERT_FILE"):
            ApiClient(server.url, options(retries=9, backoff_s=30)).ask(question)
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            with monkeypatch.context() as environment:
                environment.setenv(name, str(authority))
                assert isinstance(ApiClient(server.url, options()).ask(question), Reply)


def test_a_judge_without_tls_is_told_from_one_that_is_away(server: Server) -> None:
    with pytest.raises(ConfigError, match=r"speaks no TLS\. Write http://"):
        ApiClient(server.url.replace("http:", "https:"), options(retries=9, backoff_s=30)).ask({"messages": []})


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (failure(401, "bad key"), "answered 401: 'bad key'. Set OPENAI_API_KEY"),
        (failure(404, "no such model"), "answered 404: 'no such model'. Check its URL .* and rate.model"),
        (failure(400, "logprobs unknown"), "refuses the first question.*set rate.text_only"),
        (Step(302, b"", {"Location": "http://127.0.0.1:9/"}), "answered 302"),
    ],
)
def test_what_is_refused_for_all_requests_ends_the_job_at_once(server: Server, step: Step, words: str) -> None:
    server.answer = lambda body: step
    with pytest.raises(ConfigError, match=words):
        ask(server)
    assert len(server.heard) == (2 if step.status == 400 else 1)  # 400: a short question, to find out


def test_a_first_question_that_is_refused_for_itself_is_no_reason_to_end(server: Server) -> None:
    server.answer = lambda body: YES if len(body["messages"]) == 1 else failure(400, "too many tokens")
    client = ApiClient(server.url, options())
    question = {"messages": [{"role": "user", "content": "?"}] * 2, "logprobs": True}
    assert client.ask(question) == Refused("answered 400: 'too many tokens'")
    assert server.heard[1][0]["logprobs"] is True
    assert isinstance(client.ask(question), Refused)
    assert len(server.heard) == 3


def test_the_key_comes_from_the_environment_and_is_in_no_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-" + 30 * "a"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    server.script = [failure(401, f"Incorrect API key provided: {key}")]
    with pytest.raises(ConfigError) as caught:
        ask(server)
    assert server.heard[0][1]["Authorization"] == f"Bearer {key}"
    assert key not in str(caught.value)
    monkeypatch.delenv("OPENAI_API_KEY")
    ask(server)
    assert "Authorization" not in server.heard[1][1]
    monkeypatch.setenv("OPENAI_API_KEY", f"{key}\n")  # as of a file
    ask(server)
    assert server.heard[2][1]["Authorization"] == f"Bearer {key}"


@pytest.mark.parametrize("key", ["sk-“quoted”-key", "sk-a\nX-Header: b"])
def test_a_key_that_no_header_holds_is_refused_without_showing_it(
    server: Server, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY holds characters that no key has") as caught:
        ask(server)
    assert key[:4] not in str(caught.value)
    assert not server.heard


def test_the_proxy_of_the_environment_is_used_but_for_hosts_it_leaves_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api_server(judge_like) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        question = {"messages": [{"role": "user", "content": "?"}] * 2}
        assert isinstance(ApiClient("http://judge.invalid/v1", options()).ask(question), Reply)
        assert [body["path"] for body, _ in proxy.heard] == ["http://judge.invalid/v1/chat/completions"]
        ask(server)
        assert (len(server.heard), len(proxy.heard)) == (1, 1)
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1").removeprefix("http://"))
        assert isinstance(ApiClient("http://judge.invalid/v1", options()).ask(question), Reply)
    monkeypatch.setenv("http_proxy", "socks5h://127.0.0.1:1080")
    with pytest.raises(ConfigError, match=r"The proxy socks5h://.* of HTTP_PROXY cannot be used.*NO_PROXY"):
        ApiClient("http://judge.invalid/v1", options())


def test_requests_are_spread_over_a_minute(server: Server) -> None:
    client = ApiClient(server.url, options(requests_per_minute=600))
    started = time.monotonic()
    for _ in range(4):
        client.ask({"messages": [{"role": "user", "content": "?"}] * 2})
    assert time.monotonic() - started >= 0.3  # three gaps of a tenth


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    """One unit of six pairs; the third is a single response, the last two are the same."""
    folder = Folder(str(tmp_path / "pairs"))
    rows = [
        {
            "pair_id": f"p{i}",
            "content_id": f"c{i}",
            "prompt_id": f"q{i}",
            "prompt": [{"role": "user", "content": f"How {min(i, 4)}?"}],
            "chosen": [{"role": "assistant", "content": "No."}],
            "rejected": None if i == 2 else [{"role": "assistant", "content": "Yes of course"}],
        }
        for i in range(6)
    ]
    folder.write_table("pairs.parquet", pa.Table.from_pylist(rows, schema=pa.schema(PAIR_FIELDS)))
    return folder.uri


def judge(server: Server, run: Path, rules: RuleSet = RULES, **values) -> ApiJudge:
    return plan_api_judge(server.url, options(**values), rules=rules, run=Folder(str(run)))


def rate_unit(judge: ApiJudge, pairs: str, run: Path) -> tuple[Mapping[str, int], pa.Table, Attempt]:
    (unit,) = table_units(pairs)
    folder = Folder(str(run))
    attempt = Attempt(PassTable(folder.child("scores"), folder, "score"), unit.unit, unit.digest)
    counts = unit_by_api(judge, ScoreWriter(judge.rules))(unit, attempt)
    return counts, attempt.table.folder.read_table(attempt.data[0].file), attempt


def test_a_unit_asks_each_question_once_and_writes_scores(server: Server, pairs: str, tmp_path: Path) -> None:
    counts, table, _ = rate_unit(judge(server, tmp_path), pairs, tmp_path)
    # Five different pairs of four questions each, less the two of the missing response.
    assert (counts["requests"], counts["known_answers"], counts["scored"]) == (18, 0, 6)
    assert table.column("chosen__harm").to_pylist() == pytest.approx([-0.8] * 6)
    assert table.column("rejected__harm").to_pylist()[:3] == [pytest.approx(0.65), pytest.approx(0.65), None]
    assert table.column("chosen__clear").to_pylist() == pytest.approx([5.0] * 6)
    assert table.column("rejected__clear").to_pylist()[0] == pytest.approx(3.0)
    body = server.heard[0][0]
    assert (body["model"], body["path"], body["temperature"]) == ("judge-1", "/v1/chat/completions", 0)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)
    asked = {body["messages"][-1]["content"] for body, _ in server.heard}
    assert asked == {question(rule) for rule in RULES}
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert server.most_at_a_time <= 4


def test_the_relevance_of_rules_is_asked_once_a_prompt_and_written_for_pairs(
    server: Server, pairs: str, tmp_path: Path
) -> None:
    server.answer = lambda body: YES if "How 1?" in body["messages"][0]["content"] else completion("No", {"No": 0.9})
    rate_unit(judge(server, tmp_path), pairs, tmp_path)
    before = len(server.heard)
    relating = ApiRelevanceJudge.of(judge(server, tmp_path))
    (unit,) = table_units(pairs)
    asked = 2 * len({str(row["prompt"]) for row in unit.read_all().to_pylist() if row["rejected"]})
    assert estimate_calls(relating, [unit]).requests == 2 * 5  # at most: a prompt may be shared
    folder = Folder(str(tmp_path))
    attempt = Attempt(PassTable(folder.child("relevance"), folder, "relevance"), unit.unit, unit.digest)
    counts = unit_by_api(relating, RelevanceWriter(relating.rules))(unit, attempt)
    assert (counts["requests"], counts["known_answers"], counts["scored"]) == (asked, 0, 6)
    assert len(server.heard) == before + asked
    table = attempt.table.folder.read_table(attempt.data[0].file)
    # P(Yes) - P(No) of .65 and -.9, from [-1, 1] to [0, 1]
    expected = [0.825 if "How 1?" in str(row["prompt"]) else 0.05 for row in unit.read_all().to_pylist()]
    for rule in RULES:
        values = table.column(f"relevance__{rule.name}").to_pylist()
        assert values[2] is None
        assert values[:2] + values[3:] == pytest.approx(expected[:2] + expected[3:])
    assert {len(body["messages"]) for body, _ in server.heard[before:]} == {1}
    again = Attempt(attempt.table, unit.unit, unit.digest)
    assert unit_by_api(relating, RelevanceWriter(relating.rules))(unit, again)["requests"] == 0


def test_a_resumed_unit_pays_for_no_answer_twice(server: Server, pairs: str, tmp_path: Path) -> None:
    def dies_after(count: int) -> Callable[[Body], Step]:
        return lambda body: judge_like(body) if len(server.heard) <= count else failure(503)

    server.answer = dies_after(7)
    with pytest.raises(ClusterError, match="answered 503"):
        rate_unit(judge(server, tmp_path, retries=0, concurrency=1), pairs, tmp_path)
    assert 8 <= len(server.heard) <= 10  # the thread may take another one before the others are called off
    server.answer = judge_like
    counts, expected, _ = rate_unit(judge(server, tmp_path), pairs, tmp_path)
    assert (counts["requests"], counts["known_answers"]) == (11, 7)
    more = RuleSet([*RULES, Rule("rude", "Is it rude?", "worse", Scale(-1.0, 1.0))])
    counts, table, _ = rate_unit(judge(server, tmp_path, more), pairs, tmp_path)
    assert (counts["requests"], counts["known_answers"]) == (9, 18)  # a rule more: its own questions
    assert table.select(expected.column_names).drop(["chosen__harm"]) == expected.drop(["chosen__harm"])
    other, _, _ = rate_unit(judge(server, tmp_path, more, model="judge-2"), pairs, tmp_path)
    assert other["requests"] == 27


def test_a_reply_that_is_no_rating_quarantines_its_pair_by_name(server: Server, pairs: str, tmp_path: Path) -> None:
    def stubborn(body: Body) -> Step:
        if "How 1?" in body["messages"][0]["content"] and "harm" in body["messages"][-1]["content"]:
            return completion("I will not say.", {"I": 0.99, "Yes": 0.01})
        return failure(413, "too many tokens") if "How 3?" in body["messages"][0]["content"] else judge_like(body)

    server.answer = stubborn
    counts, table, attempt = rate_unit(judge(server, tmp_path), pairs, tmp_path)
    assert (counts["scored"], counts["quarantined"], counts["reason.not_a_rating"]) == (4, 2, 2)
    assert table.column("pair_id").to_pylist() == ["p0", "p2", "p4", "p5"]
    assert attempt.quarantined is not None
    rows = attempt.table.quarantine_folder.read_table(attempt.quarantined.file).to_pylist()
    assert [(row["pair_id"], row["reason"]) for row in rows] == [("p1", "not_a_rating"), ("p3", "not_a_rating")]
    assert "chosen harm: the judge answers Yes or No with a probability of 0.01 only" in rows[0]["detail"]
    assert "the judge answered 413: 'too many tokens'" in rows[1]["detail"]


def test_the_estimate_counts_requests_and_tokens_and_prices_them(server: Server, pairs: str, tmp_path: Path) -> None:
    priced = judge(server, tmp_path, input_price=2.0, output_price=8.0, requests_per_minute=11)
    found = estimate_calls(priced, table_units(pairs))
    # Six chosen and five rejected responses, two rules: 22 requests of "How 0?", the response, and the question.
    chars = 2 * (6 * (6 + 3) + 5 * (6 + 13)) + 11 * sum(len(question(rule)) for rule in RULES)
    assert (found.requests, found.tokens_in, found.tokens_out) == (22, round(chars / 4), 22)
    assert found.cost == pytest.approx((found.tokens_in * 2 + 22 * 8) / 1e6)
    assert found.minutes == 2
    assert "no prices given" in str(estimate_calls(judge(server, tmp_path), table_units(pairs)))


def test_answers_survive_what_was_cut_off(tmp_path: Path) -> None:
    folder, body = Folder(str(tmp_path)), {"messages": ["?"]}
    Replies(folder, "u").keep("http://a/v1", body, Reply("Yes", (("Yes", -0.5),)))
    (tmp_path / "parts" / "u" / ".tmp-x").write_text("{")
    found = Replies(folder, "u")
    assert found.find("http://a/v1", body) == Reply("Yes", (("Yes", -0.5),))
    assert found.find("http://b/v1", body) is None
    found.pack()
    assert not (tmp_path / "parts" / "u").exists()
    assert Replies(folder, "u").find("http://a/v1", body) is not None


def test_a_model_that_transformers_serves_is_a_judge(pairs: str, tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="transformers serve needs it")
    folder = judges.save_yes_man(tmp_path / "judge")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    serving = subprocess.Popen(
        [sys.executable, "-m", "transformers.cli.transformers", *command],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        urllib3.request("GET", f"{url}/health", retries=Retry(120, backoff_factor=0.25, backoff_max=0.5))
        rules = RuleSet(list(RULES)[:1])
        judge = plan_api_judge(
            f"{url}/v1", options(model=str(folder), timeout_s=60), rules=rules, run=Folder(str(tmp_path))
        )
        counts, table, _ = rate_unit(judge, pairs, tmp_path)
        assert (counts["scored"], counts["requests"]) == (6, 9)
        assert table.column("chosen__harm").to_pylist() == [1.0] * 6  # "Yes", from the text alone
    finally:
        serving.terminate()
        serving.communicate()


def test_half_a_character_of_a_reply_is_kept_as_a_question_mark(tmp_path: Path) -> None:
    reply = parse_reply(completion("\ud83d", {"\ude00": 0.5}).body)
    assert reply is not None
    assert reply == Reply("?", (("?", math.log(0.5)),))
    Replies(Folder(str(tmp_path)), "u").keep("http://a/v1", {}, reply)
    assert Replies(Folder(str(tmp_path)), "u").find("http://a/v1", {}) == reply


@pytest.mark.parametrize("damage", ['{"text": "Yes"', "[]", '{"text": "Yes", "first": 3}', "\0"])
def test_an_answer_that_a_disk_has_damaged_is_asked_for_again(damage: str, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    Replies(folder, "u").keep("http://a/v1", {}, Reply("Yes", ()))
    (file,) = (tmp_path / "parts" / "u").iterdir()
    file.write_text(damage)
    assert Replies(folder, "u").find("http://a/v1", {}) is None


@pytest.mark.parametrize("url", ["http://[bad/v1", "http:///v1", "http://a:b/v1", "http://a b/v1", "http://a/v1?key=b"])
def test_a_url_that_is_none_is_told_before_the_start(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no URL of an API"):
        plan_api_judge(url, options(), rules=RULES, run=Folder(str(tmp_path)))


def test_a_model_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"name the judge with rate\.model"):
        plan_api_judge("http://a/v1", RateOptions(), rules=RULES, run=Folder(str(tmp_path)))


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_job_is_rated_over_http_and_resumes_without_a_request(
    engine: str, request: pytest.FixtureRequest, server: Server, tmp_path: Path
) -> None:
    if engine == "ray":
        request.getfixturevalue("ray_engine")  # for both commands
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=40)
    (tmp_path / "rules.yaml").write_text(RULES.to_yaml())
    values = {
        "judge": server.url,
        "model": None,
        "rules": str(tmp_path / "rules.yaml"),
        "rate": {"model": "judge-1", "concurrency": 4},
        "weigh": {"score_range": "unit"},
        "prepare": {"unit_pairs": 5},
        "cluster": {"engine": engine},
    }
    result = run_job(jobs.config(tmp_path, **values))
    assert result.scored["scored"] == 40
    assert result.weights.names == RULES.names
    assert server.most_at_a_time <= 4  # of the whole job
    num_heard = len(server.heard)
    before = jobs.contents(tmp_path / "run")
    run_job(jobs.config(tmp_path, **values))
    assert (len(server.heard), jobs.contents(tmp_path / "run")) == (num_heard, before)
    assert json.loads((tmp_path / "run" / "scores" / "plan.json").read_text())["facts"]["text_only"] is False


def api_job(server: Server, folder: Path, **rate) -> Path:
    """A job of eight units under engine: auto, as a file."""
    jobs.write_corpus(folder / "corpus.jsonl", num_pairs=40)
    (folder / "rules.yaml").write_text(RULES.to_yaml())
    job = jobs.config(
        folder,
        judge=server.url,
        model=None,
        rules=str(folder / "rules.yaml"),
        rate={"model": "judge-1", "concurrency": 4, **rate},
        prepare={"unit_pairs": 5},
        weigh={"score_range": "unit"},
        cluster={"engine": "auto"},
    )
    (folder / "job.yaml").write_text(job.to_yaml())
    return folder / "job.yaml"


def begin(job: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "ENCORE_RAY_CLUSTER_ENGINE": "auto"}
    command = [sys.executable, "-m", "encore_ray.cli", "run", str(job)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def test_a_small_judged_job_starts_no_ray_and_an_interrupt_pays_for_no_answer_twice(
    server: Server, tmp_path: Path
) -> None:
    server.answer = lambda body: replace(judge_like(body), delay_s=0.05)
    job = api_job(server, tmp_path)
    running = begin(job)
    while len(server.heard) < 20:
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 130, said
    assert "rate in this process" in said
    assert not (tmp_path / "run" / "scores" / "attempts").exists() or not os.listdir(tmp_path / "run/scores/attempts")
    assert server.most_at_a_time <= 4  # of the whole job
    paid = len(server.heard)
    time.sleep(0.3)
    assert len(server.heard) == paid  # nobody goes on asking
    server.answer = judge_like
    again = begin(job)
    said, _ = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, said
    assert "rate in this process" in said
    bodies = [json.dumps({**body, "path": ""}, sort_keys=True) for body, _ in server.heard]
    assert len(bodies) - len(set(bodies)) == twice(tmp_path / "run")


def twice(run: Path) -> int:
    """Questions that two units ask: each keeps its own answers."""
    files = [pq.read_table(file).column("request").to_pylist() for file in (run / "answers").glob("*.parquet")]
    asked = [request for file in files for request in file]
    return len(asked) - len(set(asked))


@pytest.mark.parametrize(
    ("step", "code", "words"),
    [
        (failure(401, "bad key"), 2, "answered 401: 'bad key'"),
        (failure(503, Retry_After="30"), 130, ""),
    ],
    ids=["refused", "interrupted while it waits to try again"],
)
def test_a_judge_that_gives_no_answer_holds_up_no_command(
    server: Server, step: Step, code: int, words: str, tmp_path: Path
) -> None:
    server.answer = lambda body: step
    running = begin(api_job(server, tmp_path))
    while not server.heard:
        assert running.poll() is None
        time.sleep(0.02)
    if code == 130:
        time.sleep(1)
        running.send_signal(signal.SIGINT)
    since = time.monotonic()
    said, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == code, said
    assert words in " ".join(said.split())
    assert time.monotonic() - since < 20  # not the 30 s that the judge asks for

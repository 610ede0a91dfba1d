"""What opens something is in no text that leaves the program; everything else stays as it is."""

import json
import logging

import pytest

from encore_ray.errors import ClusterError, ConfigError, DataError, ModelError, ResumeRefused
from encore_ray.redaction import RedactingFormatter, redact


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://me:pass@host:5000/x", "https://host:5000/x"),
        ("https://me:p@ss:w@host/x", "https://host/x"),
        ("at http://tok@host and postgresql+psycopg://u:p@db/m", "at http://host and postgresql+psycopg://db/m"),
        ("https://h/x?a=1&X-Amz-Signature=abc&b=2", "https://h/x?a=1&X-Amz-Signature=***&b=2"),
        ("https://h/x?X-Amz-Credential=AK%2Fus&X-Amz-Security-Token=t%3D", None),
        ("https://b.s3.amazonaws.com/x?AWSAccessKeyId=AK&Signature=ab%2B&Expires=9", None),
        ("https://a.blob.core.windows.net/c/x?sv=2024&sig=ab%2Bc%3D", None),
        ("https://h/x?access_token=abc", "https://h/x?access_token=***"),
        ("https://h/x#token=abc", "https://h/x#token=***"),
        ("<a href='https://h/x?a=1&amp;token=abc'>", "<a href='https://h/x?a=1&amp;token=***'>"),
        ("aws_secret_access_key = abcd/ef+g, and more", "aws_secret_access_key = ***, and more"),
        ("HF_TOKEN=abcdefgh encore-ray run", "HF_TOKEN=*** encore-ray run"),
        ("{'Authorization': 'Bearer abcdefgh.12'}", "{'Authorization': 'Bearer ***'}"),
        ("authorization: Basic bWU6cGFzcw==", "authorization: Basic ***"),
        ("token hf_abcdefghijklmnopqrstuvwxyz is not valid", "token *** is not valid"),
        ("the key AKIAIOSFODNN7EXAMPLE does not exist", "the key *** does not exist"),
    ],
)
def test_redacting_removes_what_opens_something(text: str, safe: str | None) -> None:
    found = redact(text)
    if safe is None:
        query = dict(part.split("=", 1) for part in text.partition("?")[2].split("&"))
        opens = [value for name, value in query.items() if name not in ("Expires", "sv")]
        assert not [value for value in opens if value in found]
        assert all(name in found for name in query)
    else:
        assert found == safe
    assert redact(found) == found


@pytest.mark.parametrize(
    "text",
    [
        "mail me@host, s3://bucket/key@v1",
        "max_tokens: 512, batch_tokens: search, cost_per_hour: 4.0",
        "2048 tokens a pass; shared_tokens=0.7; token budget: 16384",
        "counts_sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "rule no_doxxing: text: Tells nobody's password or secret.",
        "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, on every node",
        "Basic information about bearer bonds; authorization is needed",
        "trust_remote_code: false\nallow_pickle: false\n",
        "['http://host', 'x@y']",
        "key=value; monkey=1",
    ],
)
def test_redacting_leaves_everything_else(text: str) -> None:
    assert redact(text) == text


def test_redacted_json_is_json() -> None:
    value = {"uri": "https://me:p@h/x?token=abc", "next": ["https://h?sig=1", 2], "password": "abc"}
    assert json.loads(redact(json.dumps(value))) == {
        "uri": "https://h/x?token=***",
        "next": ["https://h?sig=***", 2],
        "password": "***",
    }


def test_a_long_text_is_redacted_in_no_time() -> None:
    for piece in ("a", "?", "secret", "?a", "x://", "eyJ", "password "):
        redact(piece * 50_000)  # quadratic patterns would take minutes


@pytest.mark.parametrize("kind", [ConfigError, ResumeRefused, DataError, ClusterError, ModelError])
def test_no_error_of_ours_repeats_credentials(kind: type[Exception]) -> None:
    assert str(kind("Cannot reach https://me:secret@host/x?token=abc.")) == "Cannot reach https://host/x?token=***"


def test_log_lines_and_their_tracebacks_are_redacted() -> None:
    try:
        raise ValueError("no https://me:secret@host")
    except ValueError as error:
        record = logging.LogRecord("ray", 40, "f", 1, "at %s", ("http://u:pw@h",), (ValueError, error, None))
    found = RedactingFormatter("%(message)s").format(record)
    assert "at http://h" in found
    assert "ValueError: no https://host" in found

"""Texts without what opens something: the one filter of errors, log lines and records.

Credentials belong in the environment, and paths that hold some are refused (`encore_ray.storage.absolute`). What is
left are the addresses of services, as of an MLflow server with a password, and what libraries say of a request.
"""

import logging
import re

from encore_ray.visible import visible_lines

_STARS = "***"
_VALUE = r"[^\s&;,\"'<>()\[\]{}]+"

_USER_INFO = re.compile(r"(?<=://)[^/\s?#\"'<>]*@")
_QUERY = re.compile(
    r"((?:[?&#]|&amp;)[^\s=&;]{0,64}(?:token|secret|passw|signature|credential|sig|key)[^\s=&;]{0,64}=)" + _VALUE, re.I
)
_ASSIGNED = re.compile(
    r"(\b\w{0,64}(?:secret|passwd|password|api_?key|access_?key"
    r"|(?:session|auth|access|security|hf|hub|bearer)_?token)\w{0,64}"
    r"[\"']?\s*[=:]\s*[\"']?)" + _VALUE,
    re.I,
)
_HEADER = re.compile(
    r"(\bauthorization[\"']?\s*[=:]\s*[\"']?(?:\w+\s+)?|\bbearer\s+(?=[\w.~+/=-]{20}))[\w.~+/=-]{8,}", re.I
)
_KNOWN = re.compile(
    r"\b(?:hf_|gh[opsu]_|github_pat_|glpat-|sk-|xox[abp]-|dapi)[\w-]{20,}"  # Hugging Face, GitHub, GitLab and others
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"  # a signed JSON token
)


def redact(text: str) -> str:
    """The text without credentials: user:password@ of a URL is removed, other secret values become stars.

    Secret are the values of a URL's query whose name says so (X-Amz-Signature, sig, token, AWSAccessKeyId), those
    assigned to such a name (aws_secret_access_key=...), authorization headers, and tokens of a well-known form.
    """
    text = _USER_INFO.sub("", text)
    for pattern in (_QUERY, _ASSIGNED, _HEADER):
        text = pattern.sub(rf"\1{_STARS}", text)
    return _KNOWN.sub(_STARS, text)


class RedactingFormatter(logging.Formatter):
    """Formats log records, those of libraries too, without credentials and control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(redact(super().format(record)))

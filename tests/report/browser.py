"""A real browser that looks at a page, where one is installed."""

import base64
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_S

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium to look at the page with")


def browse(folder: Path, *words: str) -> str:
    """What a browser without a window says, given its flags and an address."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
    found = subprocess.run([*command, *words], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return found.stdout


def ask(page: bytes, script: str, *, width: int, folder: Path) -> Any:
    """What a script answers when the page has loaded, in a frame of that width.

    Args:
        script: body of a function of `found`, the page's document, that returns a JSON value.
    """
    sized = f'width="{width}" height="900" style="border:0"'
    frame = f'<iframe id="page" {sized} srcdoc="{html.escape(page.decode())}"></iframe>'
    answer = (
        "onload = () => { const ask = (found) => {" + script + "};"
        'const told = JSON.stringify(ask(document.getElementById("page").contentDocument));'
        "document.title = btoa(unescape(encodeURIComponent(told))); };"
    )
    outer = folder / "outer.html"
    outer.write_text(f"<!DOCTYPE html><body>{frame}<script>{answer}</script></body>")
    shown = browse(folder, "--virtual-time-budget=3000", "--dump-dom", outer.as_uri())
    match = re.search(r"<title>([A-Za-z0-9+/=]+)</title>", shown)
    assert match, shown[-3000:]
    return json.loads(base64.b64decode(match[1]))

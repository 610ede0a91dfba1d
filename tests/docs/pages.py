"""The pages that people read: README.md, which comes first, then those that it lists, in its order."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"


def listed_pages() -> list[Path]:
    """README.md and the pages behind its last heading, each once."""
    found = re.findall(r"^- \[[^\]]+\]\(([^)]+)\)", text_of(README).partition("\n## Documentation\n")[2], flags=re.M)
    return [README, *(ROOT / name for name in found)]


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str = r"\w*") -> list[tuple[str, str]]:
    """The fenced blocks of a page, each with its language, in order; also those inside a list, without its indent."""
    found = re.findall(rf"^( *)```({language})\n(.*?)^\1```$", text_of(page), flags=re.M | re.S)
    return [(kind, re.sub(rf"^{indent}", "", content, flags=re.M)) for indent, kind, content in found]


def lines_of(block: str) -> list[str]:
    """The command lines of a block of shell, without comments; a line that goes on is one."""
    lines = block.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def shell_lines(page: Path) -> list[str]:
    """Every command line of a page's blocks of shell."""
    return [line for _, block in blocks(page, "bash") for line in lines_of(block)]


def commands() -> list[list[str]]:
    """The words of every encore-ray command in a block of shell, behind its name."""
    lines = (line for page in listed_pages() for line in shell_lines(page) if line.startswith("encore-ray "))
    return [words_of(line) for line in lines]


def words_of(line: str) -> list[str]:
    """The words of a command line behind its first, up to where its output goes."""
    return shlex.split(line.partition(" > ")[0], comments=True)[1:]


def mentioned(page: Path, program: str) -> list[str]:
    """Every command line of a program that a page's running text names, as `program WORDS`."""
    text = re.sub(r"^( *)```.*?^\1```$", "", text_of(page), flags=re.M | re.S)
    return [" ".join(code.split()) for code in re.findall(rf"`({program} [^`]+)`", text)]

"""Reads what curl commands send, on one line or many, in bash, Chrome's "copy as cURL", or Windows' cmd.

curl https://api.runware.ai/v1 -d '[{"taskType": "imageInference", "lora": […]}]'
curl https://api.runware.ai/v1 --data-raw $'[{"positivePrompt": "it\\'s"}]'
curl https://api.runware.ai/v1 -d @- <<EOF
"""

from __future__ import annotations

import re
import shlex

from .entries_of_others import NotUnderstood

__all__ = ["bodies_of_curl"]

MAX_COMMANDS = 100
_CURL = re.compile(r"(?:^|[\s;&|$(`])curl(?:\.exe)?\s", re.IGNORECASE)
_HERE_DOCUMENT = re.compile(r"<<-?\s*(['\"]?)(\w+)\1[^\n]*\n(.*?)\n[ \t]*\2[ \t]*(?:\n|\Z)", re.DOTALL)
_DATA = re.compile(r"(?:-[a-zA-Z]*d|--data(?:-raw|-binary|-ascii|-urlencode)?|--json)(?:=(.*))?", re.DOTALL)
_ANSI_C = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.DOTALL)
_MOST_HERE_DOCUMENTS = 20


def bodies_of_curl(text: str) -> list[str]:
    """The bodies that the curl commands in a text send, except those from a variable or a pipe. Empty if there is no
    such command.
    Raises NotUnderstood for a body that is in a file.
    """
    if "curl" not in text.lower() or not _CURL.search(text):
        return []
    text = _ANSI_C.sub(lambda match: shlex.quote(match[1].replace("\\'", "'").replace("\\n", "\n")), text)
    if '^"' in text:  # cmd.exe
        text = text.replace('^\\^"', '\\"').replace('^"', '"')
    few = text.count("<<") <= _MOST_HERE_DOCUMENTS
    here = [match[3] for match in _HERE_DOCUMENT.finditer(text)] if few else []
    joined = re.sub(r"[\\^`][ \t]*\r?\n", " ", _HERE_DOCUMENT.sub("\n", text) if few else text)
    bodies: list[str] = []
    for command in re.split(r"(?=(?:^|(?<=\n))[ \t]*(?:\$ )?curl)", joined):
        if not _CURL.search(command):
            continue
        try:
            words = shlex.split(command, comments=False)
        except ValueError:
            raise NotUnderstood("the quotation marks in the curl command don't match") from None
        bodies += _bodies(words)
    if len(bodies) > MAX_COMMANDS:
        raise NotUnderstood(f"it has {len(bodies):,} commands. Paste only one")
    files = [body for body in bodies if body.startswith("@") and body != "@-"]
    if files:
        raise NotUnderstood(
            f"the curl command sends a file, {files[0][1:60]}, whose content isn't in the text"
        )
    return [body for body in bodies if body != "@-" and not re.fullmatch(r"\$\{?\w+\}?", body)] + here


def _bodies(words: list[str]) -> list[str]:
    bodies = []
    for word, following in zip(words, [*words[1:], ""]):
        match = _DATA.fullmatch(word)
        if match:
            bodies.append(match[1] if match[1] is not None else following)
        elif word.startswith("-d") and word[2:3] in ("[", "{", "@"):
            bodies.append(word[2:])
    return bodies

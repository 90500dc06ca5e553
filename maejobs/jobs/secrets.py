"""Texts without the secrets of a job: for records, screens and JSON."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, AnyStr

HIDDEN = "***"
SHORTEST = 4  # characters; what is shorter stands in too many words by chance
# At the end of a word of the name: TOKENIZERS_PARALLELISM is no secret.
_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|KEY)(?![A-Za-z])", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret, by what people call such."""
    return _SECRET.search(name) is not None


def secrets_of(environment: Mapping[str, str], from_file: Mapping[str, str]) -> list[str]:
    """The secret values: in `environment` those with a secret's name, in an `env_file` all."""
    named = [value for name, value in environment.items() if is_secret(name)]
    return [*named, *from_file.values()]


def hide(text: str, secrets: Sequence[str]) -> str:
    """`text` with each of the secrets in it replaced; those that overlap as one."""
    told = [secret for secret in secrets if len(secret) >= SHORTEST]
    parts, shown_to = [], 0
    for begin, end in merged(spans(text, told)):
        parts += [text[shown_to:begin], HIDDEN]
        shown_to = end
    return "".join([*parts, text[shown_to:]])


def spans(text: AnyStr, secrets: Sequence[AnyStr]) -> list[tuple[int, int]]:
    """Begin and end of each place in `text` where a secret stands, also over another's. Pure."""
    found = [(at, at + len(secret)) for secret in secrets for at in _places(text, secret)]
    return sorted(found)


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same, of which no two touch; a log of nothing but a secret is few of them. Pure."""
    found: list[tuple[int, int]] = []
    for begin, end in spans:
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _places(text: AnyStr, secret: AnyStr) -> Iterator[int]:
    at = text.find(secret)
    while at >= 0:
        yield at
        at = text.find(secret, at + 1)


def hide_in(data: Any, secrets: Sequence[str]) -> Any:
    """`data` of dictionaries and lists with the secrets hidden in every text."""
    if isinstance(data, str):
        return hide(data, secrets)
    if isinstance(data, list):
        return [hide_in(item, secrets) for item in data]
    if isinstance(data, dict):
        return {key: hide_in(value, secrets) for key, value in data.items()}
    return data

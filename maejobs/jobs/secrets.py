"""Texts without the secrets of a job: for records, screens and JSON."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

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
    """`text` with each of the secrets in it replaced, the longer first."""
    told = sorted({secret for secret in secrets if len(secret) >= SHORTEST}, key=len, reverse=True)
    if not told:
        return text
    return re.sub("|".join(map(re.escape, told)), HIDDEN, text)


def hide_in(data: Any, secrets: Sequence[str]) -> Any:
    """`data` of dictionaries and lists with the secrets hidden in every text."""
    if isinstance(data, str):
        return hide(data, secrets)
    if isinstance(data, list):
        return [hide_in(item, secrets) for item in data]
    if isinstance(data, dict):
        return {key: hide_in(value, secrets) for key, value in data.items()}
    return data

"""The address of a dead man's switch that hears of runs, as healthchecks.io has them."""

from urllib.parse import urlsplit


def check_ping_url(text: str) -> str:
    """`text` without a slash at its end, if pings can be sent there.

    `/start`, `/fail` and `/log` are put behind it. Raises ValueError, which does not quote it: it
    is a secret.
    """
    try:
        parts = urlsplit(text)
        port_is_one = parts.port != 0
    except ValueError:
        raise ValueError("it is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_one:
        raise ValueError("write it like https://hc-ping.com/YOUR-UUID")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a URL holds no blanks, no control characters and ASCII only")
    if parts.query or parts.fragment:
        raise ValueError("leave out what is behind the `?` or `#`")
    return text.rstrip("/")

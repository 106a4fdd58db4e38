"""Remove secrets from addresses before they reach a screen, a log or a row."""

import re
from urllib.parse import urlsplit, urlunsplit

SCHEME = r"\b((?:git\+)?(?:https?|ftps?|socks\w*|tcp|ssh|az):/{1,2})"
"""What an address begins with. One that was normalized as a path has only one slash."""

LOGIN = re.compile(rf"{SCHEME}(?:[^/\s]*|[^/\s:@\[]*:(?!\d+\b)\S*)@", re.I)
"""A user or token, with or without a password, before the host; greedy, as a password may have an @ in it.

It may also have quotes, and a slash, unless what stands before that can be a port.
"""

USER_ALONE = re.compile(r"(?:git\+)?ssh://[^/\s\"'<>:@]+@", re.I)
"""A user without password in an ssh address: needed to reach the host, and no secret."""

SIGNED = re.compile(
    r"([?&](?:sig|signature|[\w-]*token|[\w-]*key|pass(?:word|wd)?|secret|x-(?:amz|goog)-[\w-]+)=)[^&\s\"'<>]+", re.I
)
"""Credentials in the query of an address: an Azure SAS, a pre-signed S3 address, an index' token."""


MALFORMED = "a malformed address"
"""What is printed in place of one."""


def printable(address: str) -> str:
    """Return an address without possible secrets: user, password, query, fragment; a path is returned unchanged."""
    if "://" not in address:  # a path, or a proxy without a scheme, whose password may have slashes
        is_path = "/" in address.removeprefix("//").partition(":")[0]
        return address if is_path else address.rpartition("@")[2]
    try:
        parts = urlsplit(address)
        port = parts.port  # a slash in a password ends what is taken for the host, and the rest is then no port
    except ValueError:
        return MALFORMED
    if port is not None and "@" in parts.path:  # or it is one, of a password that begins with digits
        return MALFORMED
    if not parts.netloc:
        return f"{parts.scheme}://{parts.path}"  # urlunsplit would leave out the slashes of unix:///PATH
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def without_secrets(text: str) -> str:
    """Return a text with ``***`` in place of logins and signatures in its addresses."""
    if ":/" in text and "@" in text:
        text = re.sub(r"\S+", lambda word: without_logins(word[0]), text)
    return SIGNED.sub(r"\1***", text) if "=" in text else text


def without_logins(word: str) -> str:
    """Return a word with ``***`` in place of logins; LOGIN would search what follows the last @ once per address."""
    head, at, rest = word.rpartition("@")
    return LOGIN.sub(lambda found: found[0] if USER_ALONE.fullmatch(found[0]) else f"{found[1]}***@", head + at) + rest

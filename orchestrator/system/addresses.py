"""Addresses on their way to a screen, a log or a row: what they carry of secrets stays behind."""

import re
from urllib.parse import urlsplit, urlunsplit

LOGIN = re.compile(r"\b((?:git\+)?(?:https?|ftps?|socks\w*|tcp|ssh|az):/{1,2})[^/\s\"'<>]*@", re.I)
"""A user or a token, with or without a password, before the host; greedy, as a password may have an @ in it.

Of an address that was taken for a path one slash is left.
"""

USER_ALONE = re.compile(r"ssh://[^/\s\"'<>:@]+@", re.I)
"""What has to be typed to come to a host by ssh, and is no secret."""

SIGNED = re.compile(
    r"([?&](?:sig|signature|[\w-]*token|[\w-]*key|pass(?:word|wd)?|secret|x-(?:amz|goog)-[\w-]+)=)[^&\s\"'<>]+", re.I
)
"""What opens a door in the query of an address: an Azure SAS, a pre-signed address of S3, an index' token."""


def printable(address: str) -> str:
    """An address without what it may carry of secrets: user, password, query, fragment; or a path, as it is."""
    if "://" not in address:
        return address if "/" in address else address.rpartition("@")[2]  # a proxy may come without a scheme
    try:
        parts = urlsplit(address)
        _ = parts.port  # a slash in a password ends what is taken for the host, and the rest is then no port
    except ValueError:
        return "a malformed address"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def without_secrets(text: str) -> str:
    """Any text, with ``***`` in place of logins and signatures in its addresses."""
    if "://" not in text and "=" not in text:
        return text
    shown = LOGIN.sub(lambda found: found[0] if USER_ALONE.fullmatch(found[0]) else f"{found[1]}***@", text)
    return SIGNED.sub(r"\1***", shown)

"""API keys: `oo_<id>_<secret>`.

The id finds a key. The secret, which only its owner knows, proves it.

A secret is 32 random bytes, so its plain SHA-256 can be stored: 256 random bits cannot be guessed. Slow or salted
hashes protect secrets that people choose, and would cost CPU time that a Worker does not have.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from enum import StrEnum
from typing import NamedTuple

ID_BYTES = 8
SECRET_BYTES = 32
ID_PATTERN = "[0-9a-f]{16}"

_ID = re.compile(ID_PATTERN)
# base64url (RFC 4648) contains `_`, so the secret is everything after the second `_`.
_KEY = re.compile(f"oo_({ID_PATTERN})_([A-Za-z0-9_-]{{43}})")
# The Worker compares this digest if a key does not exist. No known text has this digest.
_NO_DIGEST = "0" * 64


class Scope(StrEnum):
    """What a key may do. No scope implies another. `operator` extends `read` and `write` to other tenants."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    OPERATOR = "operator"


# The scopes that stay within the key's own tenant. The API gives no other scopes to a key.
OWN_SCOPES = (Scope.READ, Scope.WRITE, Scope.ADMIN)


class Presented(NamedTuple):
    """The two parts of a key that a client sent. The key may not exist."""

    id: str
    secret: str


# Looked up when the sent text is no key. The look-up of such a text finds nothing and costs as much as any other.
NOBODY = Presented("", "")


class Key(NamedTuple):
    """A key as stored, without its digest. Times are milliseconds since the epoch. `expires_at` None: never."""

    id: str
    tenant: str
    scopes: frozenset[Scope]
    label: str | None
    created_at: int
    expires_at: int | None


def make(entropy: bytes) -> tuple[Presented, str]:
    """Make a key from 40 random bytes of cryptographic quality. Return its parts, and the text to show once."""
    assert len(entropy) == ID_BYTES + SECRET_BYTES
    parts = Presented(
        entropy[:ID_BYTES].hex(),
        urlsafe_b64encode(entropy[ID_BYTES:]).decode("ascii").rstrip("="),
    )
    return parts, f"oo_{parts.id}_{parts.secret}"


def parse(text: str) -> Presented | None:
    """Split a key into its parts. Returns None for a text that `make` cannot have made, of any length."""
    found = _KEY.fullmatch(text)
    return None if found is None else Presented(found[1], found[2])


def is_key_id(text: str) -> bool:
    """Whether `make` can have made this id."""
    return _ID.fullmatch(text) is not None


def digest(secret: str) -> str:
    """Return what is stored of a secret: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def fingerprint(text: str) -> bytes:
    """Return what represents a presented key in memory, valid or not."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def proves(secret: str, stored: str | None) -> bool:
    """Whether the secret has the stored digest.

    Every secret takes the same time, and so does a missing digest (None).
    """
    return hmac.compare_digest(digest(secret), _NO_DIGEST if stored is None else stored)


def ordered(scopes: frozenset[Scope]) -> list[Scope]:
    """Return the scopes in the order in which they are shown and stored."""
    return [scope for scope in Scope if scope in scopes]

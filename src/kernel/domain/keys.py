"""API keys, which have the form `oo_<id>_<secret>`.

The id finds the key in the database, and the secret proves that the sender owns it. The secret is 32 random bytes,
which cannot be guessed, so its plain SHA-256 can be stored. A slow or salted hash would only help for a secret that a
person chooses, and would cost CPU time that a Worker does not have.
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
# A secret in base64url (RFC 4648) may contain `_`, so the secret is everything after the second `_` of a key.
_KEY = re.compile(f"oo_({ID_PATTERN})_([A-Za-z0-9_-]{{43}})")
# The digest to compare with if an API key does not exist. No known text has a digest of 64 zeros.
_NO_DIGEST = "0" * 64


class Scope(StrEnum):
    """What a key may do. No scope implies another. `operator` extends a key's `read` and `write` to other tenants."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    OPERATOR = "operator"


# The scopes with which an API key reaches only its own tenant. The API makes API keys only with READ, WRITE and ADMIN.
OWN_SCOPES = (Scope.READ, Scope.WRITE, Scope.ADMIN)


class Presented(NamedTuple):
    """The id and the secret of an API key that a client sent, whether or not the key exists."""

    id: str
    secret: str


# What the database is asked for if a text is no API key: no row has it, and the search costs as much as any other.
NOBODY = Presented("", "")


class Key(NamedTuple):
    """A stored API key without its digest. Times are ms since the epoch; `expires_at` None: it never expires."""

    id: str
    tenant: str
    scopes: frozenset[Scope]
    label: str | None
    created_at: int
    expires_at: int | None


def make(entropy: bytes) -> tuple[Presented, str]:
    """Make an API key from 40 random bytes of cryptographic quality. Return the new API key's parts, and its text."""
    assert len(entropy) == ID_BYTES + SECRET_BYTES
    parts = Presented(entropy[:ID_BYTES].hex(), urlsafe_b64encode(entropy[ID_BYTES:]).decode("ascii").rstrip("="))
    return parts, f"oo_{parts.id}_{parts.secret}"


def parse(text: str) -> Presented | None:
    """Split an API key into its id and its secret, None if the text does not have a key's form."""
    found = _KEY.fullmatch(text)
    return None if found is None else Presented(found[1], found[2])


def is_key_id(text: str) -> bool:
    """Whether the text has the form of an API key's id."""
    return _ID.fullmatch(text) is not None


def digest(secret: str) -> str:
    """Return what the database stores of an API key's secret: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def fingerprint(text: str) -> bytes:
    """Return the SHA-256 under which an isolate remembers a text that a client sent as an API key, valid or not."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def proves(secret: str, stored: str | None) -> bool:
    """Whether a secret has the stored digest, in the same time for every secret, and without a key (None)."""
    return hmac.compare_digest(digest(secret), _NO_DIGEST if stored is None else stored)


def ordered(scopes: frozenset[Scope]) -> list[Scope]:
    """Return an API key's scopes in the order in which they are shown and stored."""
    return [scope for scope in Scope if scope in scopes]

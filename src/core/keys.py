"""API keys: `oo_<id>_<secret>`. The id finds a key; the secret, known to its holder alone, proves it.

A secret is 32 random bytes, so its plain SHA-256 can be stored: nobody guesses 256 bits, however cheap a guess is. A
slow or salted derivation is for what people choose, and would cost each request the CPU that a Worker has not.
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
# base64url (RFC 4648) has `_` in it, so the secret is all that follows the second one.
_KEY = re.compile(f"oo_({ID_PATTERN})_([A-Za-z0-9_-]{{43}})")
# What stands in for the digest of a key that is not there. No text that anyone knows has it.
_NO_DIGEST = "0" * 64


class Scope(StrEnum):
    """What a key may do; none of them implies another. `operator` extends `read` and `write` to other tenants."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    OPERATOR = "operator"


# The scopes that end at the key's own tenant: those that the API gives to a key.
OWN_SCOPES = (Scope.READ, Scope.WRITE, Scope.ADMIN)


class Presented(NamedTuple):
    """The two parts of a key that a client sent; nothing says yet that there is such a key."""

    id: str
    secret: str


# What a text that is no key is looked up as. The lookup finds nothing, at the cost of any other.
NOBODY = Presented("", "")


class Key(NamedTuple):
    """A key as it is stored, without its digest. Times in milliseconds since the epoch; None never expires."""

    id: str
    tenant: str
    scopes: frozenset[Scope]
    label: str | None
    created_at: int
    expires_at: int | None


def make(entropy: bytes) -> tuple[Presented, str]:
    """Make a key of 40 random bytes, fit for cryptography. Returns its parts and the text to show once."""
    assert len(entropy) == ID_BYTES + SECRET_BYTES
    parts = Presented(
        entropy[:ID_BYTES].hex(),
        urlsafe_b64encode(entropy[ID_BYTES:]).decode("ascii").rstrip("="),
    )
    return parts, f"oo_{parts.id}_{parts.secret}"


def parse(text: str) -> Presented | None:
    """Take a key apart; None for what `make` cannot have made, of whatever length."""
    found = _KEY.fullmatch(text)
    return None if found is None else Presented(found[1], found[2])


def is_key_id(text: str) -> bool:
    """Whether the text is an id that `make` can have made."""
    return _ID.fullmatch(text) is not None


def digest(secret: str) -> str:
    """Return what is stored of a secret: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def fingerprint(text: str) -> bytes:
    """Return what stands for a whole key in memory, be it a sound one or any other text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def proves(secret: str, stored: str | None) -> bool:
    """Whether the secret has the stored digest. Takes the same time for any secret, and for no digest (None)."""
    return hmac.compare_digest(digest(secret), _NO_DIGEST if stored is None else stored)


def ordered(scopes: frozenset[Scope]) -> list[Scope]:
    """Return the scopes in the order in which they are shown and stored."""
    return [scope for scope in Scope if scope in scopes]

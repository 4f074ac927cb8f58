"""CORS_ORIGINS lists exact origins, in the form in which browsers send them."""

import pytest

from src.kernel.domain.errors import ConfigurationError
from src.kernel.domain.settings import load

SOUND = [
    "https://example.com",
    "http://localhost:5173",
    "https://a.b-c.example.co.uk:8443",
    "http://127.0.0.1:3000",
    "http://[::1]:3000",
    "https://xn--bcher-kva.example",
    "http://example.com:443",
    "https://h:65535",
]
BAD = [
    "*",
    "https://*.example.com",
    "null",
    "example.com",
    "https://",
    "https://example.com/",
    "https://example.com/path",
    "https://example.com?x",
    "https://example.com#x",
    "https://user@example.com",
    "HTTPS://example.com",
    "https://Example.com",
    "https://bücher.example",
    "https://example.com:443",
    "http://example.com:80",
    "https://example.com:0",
    "https://example.com:080",
    "https://example.com:65536",
    "https://example.com:",
    "https://example.com.",
    "https://-a.example",
    "https://a..b",
    "ftp://example.com",
    "https://a.example https://b.example",
    "https://a.example,",
    ",",
    "https://a.example,,https://b.example",
    "https://a.example\nX: y",
]


def origins(value: str) -> frozenset[str]:
    return load({"CORS_ORIGINS": value}.get).cors_origins


@pytest.mark.parametrize("origin", SOUND)
def test_sound(origin: str) -> None:
    assert origins(origin) == {origin}
    assert origins(f" {origin} , https://other.example") == {origin, "https://other.example"}


@pytest.mark.parametrize("bad", BAD)
def test_bad(bad: str) -> None:
    for value in (bad, f"https://other.example,{bad}"):
        with pytest.raises(ConfigurationError, match=r"^CORS_ORIGINS must be web origins") as caught:
            origins(value)
        assert "other.example" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "  "])
def test_none(value: str) -> None:
    assert origins(value) == load(lambda _name: None).cors_origins == frozenset()

"""Which URLs a webhook may be sent to."""

import pytest

from src.features.webhooks.rules import refusal

GOOD = [
    "https://example.com",
    "https://example.com/",
    "https://example.com:443/hooks",
    "HTTPS://Hooks.Example.COM/A",
    "https://a.b.c.example.co.uk/hook?a=1&b=%20",
    "https://xn--bcher-kva.ch/x",
    "https://example.xn--p1ai/x",
    "https://1password.com/x",
    "https://hooks-1.example.com/~a/b;c=1,2/@x:y",
    "https://127.example.com/",
    "https://deadbeef.com/",
    "https://example.com?x=1",
    "https://localhost.example.com/",
    "https://example.com/%2e%2e//a?u=https://10.0.0.1/",
]

HOSTILE = [
    # Schemes
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "data:text/plain,x",
    "ws://example.com/",
    "blob:https://example.com/x",
    "//example.com/",
    "example.com/",
    "https:example.com",
    "https:/example.com",
    "https:///example.com",
    "https:\\\\example.com",
    " https://example.com/",
    "https://example.com/ ",
    "https://",
    "",
    # Addresses in every notation
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0x7F.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://8.8.8.8/",
    "https://255.255.255.255/",
    "https://127.0.0.1./",
    "https://1.2.3.0x4/",
    "https://example.0x1/",
    "https://example.1/",
    "https://example.com.1/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[0:0:0:0:0:ffff:7f00:1]/",
    "https://[fd00::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[2606:4700::1111]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[v1.x]/",
    "https://::1/",
    # Hostile URLs with user info, or with syntax that parsers read differently.
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com:443@127.0.0.1/",
    "https://example.com%40127.0.0.1/",
    "https://example.com\\@127.0.0.1/",
    "https://127.0.0.1\\.example.com/",
    "https://example.com#@127.0.0.1/",
    "https://example.com/#x",
    "https://exa\tmple.com/",
    "https://exa\nmple.com/",
    "https://example.com/\r\nHost: x",
    "https://example.com/\x00",
    "https://exam%70le.com/",
    "https://%31%32%37.0.0.1/",
    "https://example.com/a b",
    "https://example.com/<x>",
    'https://example.com/"',
    "https://example.com\\evil",
    # URLs with a host name of a private network, or of no network.
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://a.localhost/",
    "https://localhost.localdomain/",
    "https://router.local/",
    "https://metadata.google.internal/",
    "https://x.INTERNAL/",
    "https://nas.lan/",
    "https://x.home.arpa/",
    "https://1.0.0.127.in-addr.arpa/",
    "https://intranet/",
    "https://db/",
    "https://x.test/",
    "https://x.onion/",
    "https://x.corp/",
    # Names whose addresses are those of this machine or of a private network
    "https://127.0.0.1.nip.io/",
    "https://10-0-0-1.sslip.io/",
    "https://localtest.me/",
    "https://a.lvh.me/",
    # Dots, labels and unicode
    "https://example.com./",
    "https://example..com/",
    "https://.example.com/",
    "https://-example.com/",
    "https://example-.com/",
    "https://exa_mple.com/",
    "https://example.c/",
    "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 130 + "com/",
    "https://ex\u0430mple.com/",
    "https://example\u3002com/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://\u2460\u2461\u2466.0.0.1/",
    "https://example.com\u2025x/",
    "https://example\u00ad.com/",
    "https://loc\u200balhost/",
    "https://\u24c1ocalhost/",
    "https://b\u00fccher.ch/",
    # URLs whose host name has letters that fold to an ASCII letter.
    "https://foo.localho\u017ft/",
    "https://169.254.169.254.\u017fslip.io/",
    "https://x.localte\u017ft.me/",
    "http\u017f://example.com/",
    "https://\u212aelvin.com/",
    "https://dotless\u0131.com/",
    "https://dotted\u0130.com/",
    "https://example.com/\u00e9",
    # Ports
    "https://example.com:80/",
    "https://example.com:8443/",
    "https://example.com:22/",
    "https://example.com:0443/",
    "https://example.com:/",
    "https://example.com:443443/",
    "https://example.com:443:443/",
    "https://example.com:+443/",
    "https://example.com:0x1bb/",
    "https://example.com:\uff14\uff14\uff13/",
    # Length
    "https://example.com/" + "a" * 2_000,
]


@pytest.mark.parametrize("url", GOOD)
def test_good_urls_are_taken(url: str):
    assert refusal(url) is None


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_urls_are_refused(url: str):
    assert refusal(url) is not None
    loopback = url.lower() in {"https://127.0.0.1/", "https://localhost/", "https://[::1]/"} and url == url.lower()
    assert (refusal(url, loopback=True) is None) == loopback


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/hook", "http://localhost/", "https://localhost:1/x?y", "http://[::1]:65535/"]
)
def test_loopback_is_allowed_where_the_deployment_says_so(url: str):
    assert refusal(url, loopback=True) is None
    assert refusal(url) is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://localhost.example.com/",
        "http://localhost@example.com/",
        "http://user@localhost/",
        "http://localhost:80\\@example.com/",
        "http://10.0.0.1/",
        "http://example.com/",
        "http://[::1]x/",
    ],
)
def test_loopback_allows_nothing_else(url: str):
    assert refusal(url, loopback=True) is not None

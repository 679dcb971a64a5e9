"""A caller's URL never leads into a private network, past a limit, or along a redirect."""

import http.client
import io
from collections.abc import Sequence

import pytest

from vasari.service.fetching import FetchError, fetch, is_public

PUBLIC = "93.184.216.34"


class Connection:
    """Answers like a host: a status, then a body in parts."""

    def __init__(self, status: int = 200, body: bytes = b"clip") -> None:
        self.status, self._body = status, io.BytesIO(body)
        self.asked: list[str] = []

    def request(self, method: str, target: str, headers: object) -> None:
        self.asked.append(target)

    def getresponse(self) -> "Connection":
        return self

    def read(self, size: int) -> bytes:
        return self._body.read(size)

    def close(self) -> None:
        pass


def run(
    url: str, connection: Connection, addresses: Sequence[str] = (PUBLIC,), limit: int = 100
) -> tuple[bytes, list[str]]:
    sink, used = io.BytesIO(), []

    def connect(host: str, address: str) -> http.client.HTTPConnection:
        used.append(address)
        return connection  # type: ignore[return-value]

    fetch(url, sink, limit=limit, resolve=lambda host: addresses, connect=connect)
    return sink.getvalue(), used


def test_a_public_address_is_fetched_from_the_address_that_was_checked() -> None:
    connection = Connection()
    assert run("https://media.example.org/a/b?c=d", connection) == (b"clip", [PUBLIC])
    assert connection.asked == ["/a/b?c=d"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
        "::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "::",
        "2001:0:0:0:0:0:80ff:fffe", "nonsense", "198.18.0.1", "255.255.255.255", "0.1.2.3",
    ],
)  # fmt: skip
def test_no_private_address_is_connected_to(address: str) -> None:
    assert not is_public(address)
    for addresses in ([address], [PUBLIC, address]):
        with pytest.raises(FetchError, match="public network"):
            run("https://media.example.org/", Connection(), addresses)


@pytest.mark.parametrize(
    "url",
    [
        "http://media.example.org/", "ftp://media.example.org/", "file:///etc/passwd", "https://", "https://a:b@x.org/",
        "https://x.org:8443/", "https://x.org:99999/", "https://x.org/\r\nHost: y", "https://x.org/ x", "https://x.örg/",
        "https://x.org/" + "a" * 3000, "//x.org/", "https://[::1", "gopher://x.org",
    ],
)  # fmt: skip
def test_only_plain_https_addresses_are_fetched(url: str) -> None:
    with pytest.raises(FetchError) as refused:
        run(url, Connection())
    assert refused.value.status == 400


def test_redirects_are_not_followed_and_long_bodies_are_cut() -> None:
    with pytest.raises(FetchError, match="redirects"):
        run("https://x.example.org/", Connection(status=302))
    with pytest.raises(FetchError, match="longer"):
        run("https://x.example.org/", Connection(body=b"a" * 200))


def test_a_host_that_is_too_slow_is_left() -> None:
    ticks = iter([0.0, 100.0])
    with pytest.raises(FetchError, match="slow"):
        fetch(
            "https://x.example.org/", io.BytesIO(), limit=100, resolve=lambda host: [PUBLIC],
            connect=lambda host, address: Connection(),  # type: ignore[arg-type,return-value]
            clock=lambda: next(ticks),
        )  # fmt: skip


def test_a_broken_connection_is_an_error_of_the_other_side() -> None:
    def broken(host: str, address: str) -> http.client.HTTPConnection:
        raise OSError("refused")

    with pytest.raises(FetchError) as failed:
        fetch("https://x.example.org/", io.BytesIO(), limit=1, resolve=lambda host: [PUBLIC], connect=broken)
    assert failed.value.status == 502

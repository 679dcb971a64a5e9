"""A caller's URL never leads into a private network, past a limit, or along a redirect; hosts are real sockets."""

import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from vasari.service.fetching import FetchError, connect, fetch, is_public, resolve

PUBLIC = "93.184.216.34"
OK = b"HTTP/1.1 200 OK\r\n"


class Host:
    """A host that answers every connection with the same bytes, part by part, and notes what it was asked."""

    def __init__(self, parts: Sequence[bytes], pause_s: float) -> None:
        self.parts, self.pause_s = parts, pause_s
        self.asked: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                with connection, suppress(OSError):
                    self.asked.append(connection.recv(65536))
                    for part in self.parts:
                        connection.sendall(part)
                        time.sleep(self.pause_s)


@contextmanager
def host(*parts: bytes, pause_s: float = 0.0) -> Iterator[Host]:
    made = Host(parts, pause_s)
    try:
        yield made
    finally:
        made.socket.close()


def run(
    url: str, at: Host | None, *, addresses: Sequence[str] = (PUBLIC,), limit: int = 100_000, deadline_s: float = 30.0
) -> tuple[bytes, list[str]]:
    """What was fetched, and which addresses were connected to; the public address is played by the host given."""
    sink, used = io.BytesIO(), []

    def to_host(name: str, address: str) -> http.client.HTTPConnection:
        assert at is not None
        used.append(address)
        connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=10)
        connection.connect()
        return connection

    fetch(url, sink, limit=limit, resolve=lambda name: addresses, connect=to_host, deadline_s=deadline_s)
    return sink.getvalue(), used


def test_a_public_address_is_fetched_from_the_address_that_was_checked() -> None:
    with host(OK + b"Content-Length: 4\r\n\r\nclip") as at:
        assert run("https://media.example.org/a/b?c=d", at) == (b"clip", [PUBLIC])
        assert at.asked[0].startswith(b"GET /a/b?c=d HTTP/1.1\r\n")


def test_a_name_is_resolved_once_so_that_a_second_answer_leads_nowhere() -> None:
    """DNS rebinding: the second answer of the name server would be the machine itself."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    used = []

    def to_host(name: str, address: str) -> http.client.HTTPConnection:
        used.append(address)
        raise OSError("nobody there")

    with pytest.raises(FetchError):
        fetch("https://x.example.org/", io.BytesIO(), limit=9, resolve=lambda name: next(answers), connect=to_host)
    assert used == [PUBLIC]
    assert next(answers) == ["127.0.0.1"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
        "::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "::",
        "2001:0:0:0:0:0:80ff:fffe", "nonsense", "198.18.0.1", "255.255.255.255", "0.1.2.3", "240.0.0.1", "0.0.0.0",  # noqa: S104

        "::127.0.0.1", "::ffff:0:127.0.0.1", "fec0::1", "64:ff9b:1::7f00:1", "2001:db8::1", "100::1", "4000::1",
        "fd00:ec2::254", "192.0.0.8", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
    ],
)  # fmt: skip
def test_no_private_address_is_connected_to(address: str) -> None:
    assert not is_public(address)
    for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
        with pytest.raises(FetchError, match="public network"):
            run("https://media.example.org/", None, addresses=addresses)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "name",
    [
        "localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "0", "[::1]",
        "0.0.0.0",  # noqa: S104

        "[::]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "169.254.169.254", "0xa9fea9fe", "[fe80::1]",
        "127.0.0.1.", "%31%32%37.0.0.1", "LOCALHOST",
    ],
)  # fmt: skip
def test_no_spelling_of_a_private_host_is_connected_to(name: str) -> None:
    """With the system's own resolver, which knows decimal, octal and hexadecimal forms."""

    def never(host: str, address: str) -> http.client.HTTPConnection:
        raise AssertionError(f"connected to {address}")

    with pytest.raises(FetchError):
        fetch(f"https://{name}/", io.BytesIO(), limit=9, resolve=resolve, connect=never)


@pytest.mark.parametrize(
    "url",
    [
        "http://media.example.org/", "ftp://media.example.org/", "file:///etc/passwd", "https://", "https://a:b@x.org/",
        "https://x.org:8443/", "https://x.org:99999/", "https://x.org/\r\nHost: y", "https://x.org/ x", "https://x.örg/",
        "https://x.org/" + "a" * 3000, "//x.org/", "https://[::1", "gopher://x.org", "https://x.org\\@127.0.0.1/",
        "https://x.org:80/", "https://x.org:0/", "data:text/plain,x", "https:///etc/passwd", "dict://x.org:11211/",
        "https://a@x.org/", "jar:https://x.org!/", "HTTP://x.org/", "https://x.org:/\x00",
    ],
)  # fmt: skip
def test_only_plain_https_addresses_are_fetched(url: str) -> None:
    with pytest.raises(FetchError) as refused:
        run(url, None)
    assert refused.value.status == 400


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://127.0.0.1/", "https://169.254.169.254/", "file:///etc/passwd", "/again"])
def test_redirects_are_not_followed(status: int, location: str) -> None:
    with host(f"HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()) as at:
        with pytest.raises(FetchError, match="redirects"):
            run("https://x.example.org/", at)
        assert len(at.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 999999999999\r\n\r\n",
        OK + b"Connection: close\r\n\r\n" + b"a" * 200_000,
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"fff\r\n" + b"a" * 4095 + b"\r\n" + b"1ffff\r\n" + b"a" * 131_071,
    ],
)
def test_long_bodies_are_cut_however_their_length_is_told(answer: bytes) -> None:
    with host(answer) as at, pytest.raises(FetchError, match="longer") as refused:
        run("https://x.example.org/", at)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 50\r\n\r\nbroken off",
        OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nbroken off",
        b"", b"HTTP/1.1 ", b"\x16\x03\x01 no HTTP\r\n\r\n", OK + b"X: " + b"a" * 70_000, OK + b"X: y\r\n" * 200,
        OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
    ],
)  # fmt: skip
def test_answers_that_are_broken_endless_or_compressed_are_errors_of_the_other_side(answer: bytes) -> None:
    with host(answer) as at, pytest.raises(FetchError) as failed:
        run("https://x.example.org/", at)
    assert failed.value.status == 502


@pytest.mark.parametrize(
    "parts",
    [
        [b"H"] + [b"T"] * 200,
        [OK] + [b"X: y\r\n"] * 200,
        [OK + b"Content-Length: 4000\r\n\r\n"] + [b"a"] * 200,
        [OK + b"Connection: close\r\n\r\n"] + [b"a"] * 200,
        [OK + b"Transfer-Encoding: chunked\r\n\r\n"] + [b"1\r\na\r\n"] * 200,
    ],
)
def test_a_host_that_lets_a_letter_at_a_time_fall_is_left(parts: list[bytes]) -> None:
    """Each letter comes well within the time-out of a read; the whole does not."""
    with host(*parts, pause_s=0.1) as at:
        begun = time.monotonic()
        with pytest.raises(FetchError, match="slow"):
            run("https://x.example.org/", at, deadline_s=0.5)
        assert time.monotonic() - begun < 15  # the host would take 20 s


def test_a_tls_handshake_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vasari.service.fetching.TIMEOUT_S", 0.5)
    create = socket.create_connection
    with host(b"\x16", *[b"\x03"] * 200, pause_s=0.1) as at:
        monkeypatch.setattr(socket, "create_connection", lambda place, timeout: create(("127.0.0.1", at.port), timeout))
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            connect("x.example.org", PUBLIC)
        assert time.monotonic() - begun < 15


def test_a_broken_connection_is_an_error_of_the_other_side() -> None:
    def broken(host: str, address: str) -> http.client.HTTPConnection:
        raise OSError("refused")

    with pytest.raises(FetchError) as failed:
        fetch("https://x.example.org/", io.BytesIO(), limit=1, resolve=lambda name: [PUBLIC], connect=broken)
    assert failed.value.status == 502

"""Callers who send a letter at a time, nothing, or without end hold no place; who works is left alone."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason="the extra `service` is not installed")

import uvicorn
from fastapi import FastAPI, Request

from vasari.service.patience import BodyLimits, Impatient

HEAD = b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class Quick(Impatient):
    headers_within_s = 0.4


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A real server on a free port."""
    app = FastAPI()

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.post("/work")
    async def work(request: Request) -> str:
        await asyncio.sleep(1.5)
        return "done"

    app.add_middleware(BodyLimits, small_within_s=0.6)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http=Quick, log_level="critical", timeout_keep_alive=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


def answer(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Everything that the server sends until it closes or falls silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=8) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)
        came = b""
        try:
            while chunk := connection.recv(65536):
                came += chunk
        except OSError:
            pass
        return came


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\nX-"])
def test_a_head_that_does_not_come_is_not_waited_for(port: int, sent: bytes) -> None:
    began = time.monotonic()
    assert answer(port, sent) == b""
    assert time.monotonic() - began < 6


def test_a_second_head_that_does_not_come_is_not_waited_for(port: int) -> None:
    began = time.monotonic()
    assert answer(port, HEAD % (b"length", 2) + b"ab", b"GET").endswith(b"2")
    assert time.monotonic() - began < 6


def test_a_body_that_does_not_come_is_not_waited_for(port: int) -> None:
    began = time.monotonic()
    assert b" 200 " not in answer(port, HEAD % (b"length", 100) + b"a")
    assert time.monotonic() - began < 6


def test_a_body_that_is_too_long_is_not_taken(port: int) -> None:
    assert b" 200 " not in answer(port, HEAD % (b"length", 70_000), b"a" * 70_000)
    assert answer(port, HEAD % (b"length", 60_000), b"a" * 60_000).endswith(b"60000")


def test_a_request_at_work_is_left_alone(port: int) -> None:
    assert answer(port, HEAD % (b"work", 0)).endswith(b'"done"')

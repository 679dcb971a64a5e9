"""How long the service waits for a caller, and how much it takes: whoever sends a letter at a time holds no place.

The number of connections is limited, so that each one that is held open for nothing shuts somebody out. `Impatient` is
uvicorn's HTTP/1.1 protocol with an end to waiting for headers; `BodyLimits` ends bodies that are too long or too slow.
"""

import asyncio
from typing import Any

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from vasari.service.limits import TooLargeError

HEADERS_WITHIN_S = 10.0
"""A connection without a whole request head for as long is closed, within as long again."""
SMALL_BODY_BYTES = 64 * 1024
SMALL_WITHIN_S, LARGE_WITHIN_S = 20.0, 600.0
LARGE = frozenset({"/v1/matches/byContent", "/v1/manifests"})
"""Where bodies are read piece by piece against limits of their own."""


class Impatient(H11Protocol):
    """Closes connections whose caller does not come to the point."""

    headers_within_s = HEADERS_WITHIN_S

    def connection_made(self, transport: Any) -> None:
        """Begin to look at the connection now and then."""
        super().connection_made(transport)
        self._seen: object = None
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop looking."""
        self._timer.cancel()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._timer = self.loop.call_later(self.headers_within_s, self._look, self.cycle)

    def _look(self, cycle: object) -> None:
        """Close what waits for a head and waited for the same one at the last look; a request at work goes on."""
        if self.conn.their_state is h11.IDLE and cycle is self.cycle:
            self.transport.abort()
        else:
            self._look_again()


class BodyLimits:
    """An ASGI layer that ends requests whose body is too long or too slow for what is asked."""

    def __init__(self, app: ASGIApp, *, small_within_s: float = SMALL_WITHIN_S) -> None:
        self._app, self._small_within_s = app, small_within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a `receive` that counts and looks at the clock until the body is whole."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        large = scope["path"] in LARGE
        within_s = LARGE_WITHIN_S if large else self._small_within_s
        end, came, whole = asyncio.get_running_loop().time() + within_s, 0, False

        async def limited() -> Message:
            nonlocal came, whole
            if whole:
                return await receive()
            message = await asyncio.wait_for(receive(), max(0.0, end - asyncio.get_running_loop().time()))
            came += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if came > SMALL_BODY_BYTES and not large:
                raise TooLargeError
            return message

        await self._app(scope, limited, send)

"""The HTTP surface: C2PA Soft Binding Resolution API 2.4 under /v1, OAuth2 tokens, problem details (RFC 9457)."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

import vasari
from media import MediaError
from provenance import MAX_STORED_BYTES, SOFT_BINDING_ALGORITHM, LogError, ProvenanceError, RepositoryError
from vasari.plain_text import printable
from vasari.service.access import AccessError, Caller, Clients, Scope, Tokens, basic_credentials
from vasari.service.content_match import Match
from vasari.service.fetching import FetchError
from vasari.service.limits import Rate, RateLimiter, TooLargeError, TooManyError, read_limited, spool_limited
from vasari.service.patience import BodyLimits
from vasari.service.resolver import RequestError, Resolver

SPECIFICATION_VERSION = "2.4"
FINGERPRINT_ALGORITHM = "org.vasari.fingerprint.1"
MAX_MATCHES = 100
MAX_URL_CHARACTERS = 4096
HEAVY_COST = 10.0  # a match by content counts as so many requests

Fetch = Callable[[str, IO[bytes]], int]
"""Writes what a URL holds into a file; raises FetchError."""


@dataclass(frozen=True)
class ServiceParts:
    """What the service is made of; everything that touches the world is handed in."""

    resolver: Resolver
    clients: Clients
    tokens: Tokens
    match: Match
    fetch: Fetch | None = None
    max_content_bytes: int = 512 << 20
    rate: Rate = field(default_factory=lambda: Rate(burst=60, per_minute=120))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BindingQuery(_Strict):
    """A soft binding to look up."""

    alg: str = Field(min_length=1, max_length=128)
    value: str = Field(min_length=1, max_length=2048)


class BindingEntry(_Strict):
    """A binding to store."""

    bindingValue: str = Field(min_length=1, max_length=2048)  # noqa: N815  the specification's name
    manifestId: str = Field(min_length=1, max_length=256)  # noqa: N815


class Reference(_Strict):
    """A file by its address."""

    referenceUrl: str = Field(min_length=9, max_length=2048)  # noqa: N815
    assetLength: int | None = Field(default=None, ge=1)  # noqa: N815
    assetType: str | None = Field(default=None, max_length=128)  # noqa: N815
    region: dict[str, Any] | None = None


MaxResults = Annotated[int, Query(ge=1, le=MAX_MATCHES, alias="maxResults")]


def create_app(parts: ServiceParts) -> FastAPI:
    """The service, ready to be served by any ASGI server."""
    app = FastAPI(title="Vasari soft binding resolution", version=vasari.__version__, docs_url=None, redoc_url=None)
    limiter = RateLimiter(parts.rate)
    _problems(app)
    _public(app, parts, limiter)
    _matches(app, parts, limiter)
    _store(app, parts, limiter)
    app.add_middleware(BodyLimits)
    return app


def _allowed(parts: ServiceParts, limiter: RateLimiter, scope: Scope, cost: float = 1.0) -> Any:
    """A dependency: the caller, if their token has `scope` and they don't ask too often."""

    def check(request: Request, authorization: Annotated[str | None, Header()] = None) -> Caller:
        limiter.take(f"address {_address(request)}", cost)
        caller = parts.tokens.check(authorization)
        limiter.take(f"client {caller.client_id}", cost)
        if scope not in caller.scopes:
            raise AccessError(403, "insufficient_scope", f"the token lacks the scope {scope}")
        return caller

    return Depends(check)


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _public(app: FastAPI, parts: ServiceParts, limiter: RateLimiter) -> None:
    base = parts.resolver.base_url

    @app.get("/v1/services/status")
    def status() -> dict[str, str]:
        try:
            parts.resolver.repository.find(0)
            parts.resolver.archive.get("")
            state = "ok"
        except RepositoryError:
            state = "down"
        return {"status": state, "timestamp": parts.resolver.clock().isoformat()}

    @app.get("/v1/services/capabilities")
    def capabilities() -> dict[str, Any]:
        reference = ["queryByReference"] if parts.fetch else []
        supported = ["queryByContent", *reference, "storeManifests", "storeBindings"]
        return {"c2paSpecificationVersion": SPECIFICATION_VERSION, "supportedCapabilities": supported}

    @app.get("/v1/services/supportedAlgorithms")
    def algorithms() -> dict[str, Any]:
        return {"watermarks": [{"alg": SOFT_BINDING_ALGORITHM}], "fingerprints": [{"alg": FINGERPRINT_ALGORITHM}]}

    @app.get("/.well-known/c2pa-soft-binding-resolution")
    def discovery() -> dict[str, str]:
        services = f"{base}/v1/services"
        return {
            "apiEndpoint": f"{base}/v1",
            "c2paSpecificationVersion": SPECIFICATION_VERSION,
            "capabilitiesEndpoint": f"{services}/capabilities",
            "statusEndpoint": f"{services}/status",
        }

    @app.post("/oauth2/token")
    async def token(request: Request, authorization: Annotated[str | None, Header()] = None) -> JSONResponse:
        limiter.take(f"token {_address(request)}", HEAVY_COST)  # a scrypt hash each
        form = _form(await read_limited(request.stream(), 4096))
        if form.get("grant_type") != "client_credentials":
            raise AccessError(400, "unsupported_grant_type", "expected grant_type=client_credentials")
        given = basic_credentials(authorization) or (form.get("client_id", ""), form.get("client_secret", ""))
        client = await run_in_threadpool(parts.clients.authenticate, *given)
        bearer, scopes = parts.tokens.issue(client, form.get("scope"))
        answer = {"access_token": bearer, "token_type": "Bearer", "expires_in": 600, "scope": scopes}
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})


def _matches(app: FastAPI, parts: ServiceParts, limiter: RateLimiter) -> None:
    fetch_scope = _allowed(parts, limiter, Scope.FETCH)
    heavy = _allowed(parts, limiter, Scope.FETCH, HEAVY_COST)
    resolver = parts.resolver

    @app.get("/v1/matches/byBinding")
    def by_binding(value: str, alg: str, max_results: MaxResults = 10, caller: Caller = fetch_scope) -> dict[str, Any]:
        return {"matches": resolver.by_binding(alg, value, max_results)}

    @app.post("/v1/matches/byBinding")
    def by_binding_posted(
        query: BindingQuery, max_results: MaxResults = 10, caller: Caller = fetch_scope
    ) -> dict[str, Any]:
        return {"matches": resolver.by_binding(query.alg, query.value, max_results)}

    @app.post("/v1/matches/byContent")
    async def by_content(request: Request, max_results: MaxResults = 10, caller: Caller = heavy) -> dict[str, Any]:
        with tempfile.NamedTemporaryFile(prefix="vasari-", suffix=".media") as sink:
            await spool_limited(request.stream(), sink, parts.max_content_bytes)
            found = await run_in_threadpool(parts.match, Path(sink.name))
        return {"matches": resolver.by_content(found, max_results)}

    @app.post("/v1/matches/byReference")
    def by_reference(reference: Reference, max_results: MaxResults = 10, caller: Caller = heavy) -> dict[str, Any]:
        if parts.fetch is None:
            raise RequestError(501, "this service fetches nothing by reference")
        if (reference.assetLength or 0) > parts.max_content_bytes:
            raise TooLargeError
        with tempfile.NamedTemporaryFile(prefix="vasari-", suffix=".media") as sink:
            parts.fetch(reference.referenceUrl, sink)
            sink.flush()
            return {"matches": resolver.by_content(parts.match(Path(sink.name)), max_results)}

    @app.get("/v1/manifests/{manifest_id}")
    def manifest(manifest_id: str, caller: Caller = fetch_scope) -> Response:
        return Response(resolver.manifest(manifest_id), media_type="application/c2pa")

    @app.get("/v1/manifests/{manifest_id}/receipts")
    def receipts(manifest_id: str, caller: Caller = fetch_scope) -> list[dict[str, Any]]:
        return resolver.receipts(manifest_id)


def _store(app: FastAPI, parts: ServiceParts, limiter: RateLimiter) -> None:
    store_scope = _allowed(parts, limiter, Scope.STORE)
    bind_scope = _allowed(parts, limiter, Scope.BIND)
    resolver = parts.resolver

    @app.post("/v1/manifests")
    async def store(
        request: Request,
        return_receipt: Annotated[bool, Query(alias="returnReceipt")] = False,
        caller: Caller = store_scope,
    ) -> dict[str, Any]:
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/c2pa":
            raise RequestError(415, "expected application/c2pa")
        content = await read_limited(request.stream(), MAX_STORED_BYTES)
        manifest_id = await run_in_threadpool(resolver.store, content, caller)
        answer: dict[str, Any] = {"manifestId": manifest_id}
        if return_receipt:
            answer["receipt"] = await run_in_threadpool(resolver.anchor, manifest_id)
        return answer

    @app.delete("/v1/manifests/{manifest_id}", status_code=204)
    def delete(manifest_id: str, caller: Caller = store_scope) -> None:
        resolver.delete(manifest_id, caller)

    @app.post("/v1/bindings", status_code=204)
    @app.put("/v1/bindings", status_code=204)
    def bind(entry: BindingEntry, caller: Caller = bind_scope) -> None:
        resolver.bind(entry.bindingValue, entry.manifestId, caller)

    @app.post("/v1/manifests/{manifest_id}/receipts")
    def check_receipt(manifest_id: str, receipt: dict[str, Any], caller: Caller = store_scope) -> dict[str, Any]:
        resolver.manifest(manifest_id)
        return receipt | {"verified": resolver.receipt_holds(manifest_id, receipt)}


def _problems(app: FastAPI) -> None:
    """Every refusal as problem details; nothing of the inside is told."""

    def problem(status: int, detail: str, **headers: str) -> JSONResponse:
        body = {"type": "about:blank", "title": detail, "status": status}
        return JSONResponse(body, status, headers, media_type="application/problem+json")

    @app.exception_handler(RequestError)
    def refused(_request: Request, error: RequestError) -> JSONResponse:
        return problem(error.status, printable(error))

    @app.exception_handler(AccessError)
    def no_access(request: Request, error: AccessError) -> JSONResponse:
        if request.url.path == "/oauth2/token":  # RFC 6749 section 5.2
            return JSONResponse({"error": error.error, "error_description": str(error)}, error.status)
        challenge = f'Bearer realm="vasari", error="{error.error}"'
        return problem(error.status, str(error), **{"WWW-Authenticate": challenge})

    @app.exception_handler(TooManyError)
    def too_many(_request: Request, error: TooManyError) -> JSONResponse:
        return problem(429, str(error), **{"Retry-After": str(error.retry_after_s)})

    @app.exception_handler(TooLargeError)
    def too_large(_request: Request, _error: TooLargeError) -> JSONResponse:
        return problem(413, "the body is longer than this service takes")

    @app.exception_handler(TimeoutError)
    def too_slow(_request: Request, _error: TimeoutError) -> JSONResponse:
        return problem(408, "the body came too slowly", Connection="close")

    @app.exception_handler(MediaError)
    def no_media(_request: Request, _error: MediaError) -> JSONResponse:
        return problem(415, "the body is no clip that can be read")

    @app.exception_handler(FetchError)
    def not_fetched(_request: Request, error: FetchError) -> JSONResponse:
        return problem(error.status, str(error))

    @app.exception_handler(RepositoryError)
    @app.exception_handler(LogError)
    def no_store(_request: Request, _error: ProvenanceError) -> JSONResponse:
        return problem(503, "manifests or log can't be reached now")

    @app.exception_handler(RequestValidationError)
    def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        where = ", ".join(".".join(printable(part, 40) for part in fault["loc"]) for fault in error.errors()[:5])
        return problem(400, f"not as the specification says: {where}")

    @app.exception_handler(HTTPException)
    def http_error(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    def unexpected(_request: Request, _error: Exception) -> JSONResponse:
        return problem(500, "something unexpected went wrong")

    @app.middleware("http")
    async def limit_address(request: Request, call_next: Any) -> Any:
        if len(str(request.url)) > MAX_URL_CHARACTERS:
            return problem(414, "the address is too long; POST the value instead")
        response = await call_next(request)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode("ascii"), strict_parsing=True, max_num_fields=10))
    except (ValueError, UnicodeDecodeError) as error:
        raise AccessError(400, "invalid_request", "expected form-encoded parameters") from error

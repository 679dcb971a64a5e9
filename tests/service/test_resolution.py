"""The resolution API as a client sees it: what it finds, what it keeps, what it refuses, and what it never tells."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

pytest.importorskip("fastapi", reason="the extra `service` is not installed")

from fastapi.testclient import TestClient

from media import MediaError
from provenance import SOFT_BINDING_ALGORITHM, ManifestArchive, ManifestRepository, TransparencyLog
from provenance.bmff_coverage import measure_coverage
from tests.provenance.conftest import Authority, make_authority, make_clip, sign, sign_elsewhere
from vasari.service import Clients, Scope, ServiceParts, create_app
from vasari.service.access import Tokens
from vasari.service.content_match import ContentMatch
from vasari.service.fetching import FetchError
from vasari.service.limits import Rate
from vasari.service.resolver import Resolver, release_urn

BASE = "https://credentials.example.org"
RELEASE = 0x1122334455667788
ALG, VALUE = "org.example.mark.1", b"\x01\x02\x03\x04\x05\x06\x07\x08\x09"


def store_of(content: bytes) -> bytes:
    import io

    return measure_coverage(io.BytesIO(content)).stores[0]


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


@dataclass
class Service:
    """A running service and clients with their scopes."""

    parts: ServiceParts
    http: TestClient
    secrets: dict[str, str]

    def token(self, name: str, **form: str) -> Any:
        return self.http.post(
            "/oauth2/token",
            data={"grant_type": "client_credentials", "client_id": name, "client_secret": self.secrets[name]} | form,
        )

    def headers(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(name).json()['access_token']}"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority") / "pki")


@pytest.fixture(scope="module")
def release_store(authority: Authority) -> bytes:
    return store_of(sign(make_clip(), authority, manifest_id=RELEASE, soft_binding_value=RELEASE.to_bytes(8, "big")))


@pytest.fixture(scope="module")
def foreign(authority: Authority) -> bytes:
    """A manifest of another product that signs its own soft binding."""
    return store_of(sign_elsewhere(make_clip(), "video/mp4", authority.identity, binding=(ALG, VALUE)))


def match(path: Path) -> list[ContentMatch]:
    """Stands for decoding: the clip says which release it is."""
    content = path.read_bytes()
    if not content.startswith(b"clip"):
        raise MediaError(str(path), expected="a clip", came="something else", remedy="Send a clip.")
    return [ContentMatch(RELEASE, 97)] if content == b"clip of the release" else []


def fetch(url: str, sink: IO[bytes]) -> int:
    if "private" in url:
        raise FetchError(400, "the host is not on the public network")
    return sink.write(b"clip of the release")


@pytest.fixture
def service(tmp_path: Path, release_store: bytes) -> Iterator[Service]:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    key = Ed25519PrivateKey.generate()
    log = TransparencyLog(tmp_path / "log.sqlite", origin="log.example.org", signer=key)
    repository, archive = ManifestRepository(tmp_path / "releases.sqlite"), ManifestArchive(tmp_path / "archive.sqlite")
    repository.store(RELEASE, release_store, clip_sha256="0" * 64, fingerprint=b"VFP1", created_at=now)
    clients = Clients(tmp_path / "clients.json")
    secrets = {
        "reader": clients.add("reader", (Scope.FETCH,)),
        "writer": clients.add("writer", (Scope.FETCH, Scope.STORE, Scope.BIND)),
        "other": clients.add("other", (Scope.STORE, Scope.BIND)),
    }
    resolver = Resolver(repository, archive, log, BASE, lambda: now)
    parts = ServiceParts(
        resolver, clients, Tokens(Ed25519PrivateKey.generate(), issuer=BASE), match, fetch,
        max_content_bytes=100, rate=Rate(burst=1000, per_minute=1000),
    )  # fmt: skip
    yield Service(parts, TestClient(create_app(parts), raise_server_exceptions=False), secrets)
    for part in (log, repository, archive):
        part.close()


def test_whoever_reads_the_mark_of_a_stripped_release_gets_its_manifest(service: Service, release_store: bytes) -> None:
    reader = service.headers("reader")
    for answer in (
        service.http.get(
            "/v1/matches/byBinding",
            params={"alg": SOFT_BINDING_ALGORITHM, "value": text(RELEASE.to_bytes(8, "big"))},
            headers=reader,
        ),
        service.http.post(
            "/v1/matches/byBinding",
            json={"alg": SOFT_BINDING_ALGORITHM, "value": text(RELEASE.to_bytes(8, "big"))},
            headers=reader,
        ),
    ):
        assert answer.json() == {"matches": [{"manifestId": release_urn(RELEASE), "similarityScore": 100}]}
    manifest = service.http.get(f"/v1/manifests/{release_urn(RELEASE)}", headers=reader)
    assert (manifest.headers["content-type"], manifest.content) == ("application/c2pa", release_store)


def test_whoever_has_the_clip_only_gets_its_manifest(service: Service) -> None:
    headers = service.headers("reader") | {"Content-Type": "video/mp4"}
    found = service.http.post("/v1/matches/byContent", content=b"clip of the release", headers=headers)
    assert found.json() == {"matches": [{"manifestId": release_urn(RELEASE), "similarityScore": 97}]}
    assert service.http.post("/v1/matches/byContent", content=b"clip", headers=headers).json() == {"matches": []}
    assert service.http.post("/v1/matches/byContent", content=b"text", headers=headers).status_code == 415
    assert service.http.post("/v1/matches/byContent", content=b"clip" * 100, headers=headers).status_code == 413


def test_a_reference_is_fetched_only_where_the_service_offers_it(service: Service) -> None:
    reader = service.headers("reader")
    body = {"referenceUrl": "https://media.example.org/clip.mp4"}
    found = service.http.post("/v1/matches/byReference", json=body, headers=reader)
    assert found.json()["matches"][0]["manifestId"] == release_urn(RELEASE)
    body["referenceUrl"] = "https://private.example.org/"
    assert service.http.post("/v1/matches/byReference", json=body, headers=reader).status_code == 400
    without = replace(service.parts, fetch=None)
    http = TestClient(create_app(without))
    assert http.post("/v1/matches/byReference", json=body, headers=reader).status_code == 501
    assert "queryByReference" not in http.get("/v1/services/capabilities").json()["supportedCapabilities"]


def test_a_stored_manifest_is_found_by_the_binding_that_it_signs(service: Service, foreign: bytes) -> None:
    writer = service.headers("writer")
    stored = service.http.post(
        "/v1/manifests", params={"returnReceipt": True}, content=foreign,
        headers=writer | {"Content-Type": "application/c2pa"},
    ).json()  # fmt: skip
    assert stored["manifestId"].startswith("urn:c2pa:")
    query = {"alg": ALG, "value": text(VALUE)}
    found = service.http.post("/v1/matches/byBinding", json=query, headers=writer).json()
    assert [entry["manifestId"] for entry in found["matches"]] == [stored["manifestId"]]
    assert service.http.get(f"/v1/manifests/{stored['manifestId']}", headers=writer).content == foreign


def test_receipts_are_log_proofs_that_hold_for_their_manifest_alone(service: Service, foreign: bytes) -> None:
    writer = service.headers("writer")
    stored = service.http.post(
        "/v1/manifests", params={"returnReceipt": True}, content=foreign,
        headers=writer | {"Content-Type": "application/c2pa"},
    ).json()  # fmt: skip
    path = f"/v1/manifests/{stored['manifestId']}/receipts"
    assert service.http.get(path, headers=writer).json() == [stored["receipt"]]
    assert stored["receipt"]["@type"] == "org.c2pa.manifest-receipt"
    proof = base64.b64decode(stored["receipt"]["anchor"]["proof"]["value"]).decode()
    assert proof.startswith("c2sp.org/tlog-proof@v1\nextra ")
    assert service.http.post(path, json=stored["receipt"], headers=writer).json()["verified"] is True
    forged = json.loads(json.dumps(stored["receipt"]))
    forged["anchor"]["proof"]["value"] = text(proof.replace("index 0", "index 1").encode())
    assert service.http.post(path, json=forged, headers=writer).json()["verified"] is False
    elsewhere = f"/v1/manifests/{release_urn(RELEASE)}/receipts"
    assert service.http.post(elsewhere, json=stored["receipt"], headers=writer).json()["verified"] is False
    for nonsense in ({}, {"anchor": 3}, {"anchor": {"proof": {"alg": "x", "value": "%"}}, "repository": []}):
        assert service.http.post(path, json=nonsense, headers=writer).json()["verified"] is False


def test_nobody_leads_a_releases_mark_to_their_own_manifest(
    service: Service, authority: Authority, foreign: bytes
) -> None:
    writer = service.headers("writer")
    media = {"Content-Type": "application/c2pa"}
    value = RELEASE.to_bytes(8, "big")
    poison = store_of(
        sign_elsewhere(make_clip(), "video/mp4", authority.identity, binding=(SOFT_BINDING_ALGORITHM, value))
    )
    stored = service.http.post("/v1/manifests", content=poison, headers=writer | media).json()["manifestId"]
    entry = {"bindingValue": text(value), "manifestId": stored}
    assert service.http.post("/v1/bindings", json=entry, headers=writer).status_code == 403
    unsigned = {"bindingValue": text(b"not signed by it"), "manifestId": stored}
    assert service.http.post("/v1/bindings", json=unsigned, headers=writer).status_code == 403
    found = service.http.post(
        "/v1/matches/byBinding", json={"alg": SOFT_BINDING_ALGORITHM, "value": text(value)}, headers=writer
    ).json()
    assert [match["manifestId"] for match in found["matches"]] == [release_urn(RELEASE)]
    theirs = service.http.post("/v1/manifests", content=foreign, headers=writer | media).json()["manifestId"]
    entry = {"bindingValue": text(VALUE), "manifestId": theirs}
    assert service.http.put("/v1/bindings", json=entry, headers=service.headers("other")).status_code == 404
    assert service.http.put("/v1/bindings", json=entry, headers=writer).status_code == 204


def test_only_the_owner_deletes_and_the_id_stays_taken(service: Service, foreign: bytes) -> None:
    writer, other = service.headers("writer"), service.headers("other")
    media = {"Content-Type": "application/c2pa"}
    path = (
        "/v1/manifests/"
        + service.http.post("/v1/manifests", content=foreign, headers=writer | media).json()["manifestId"]
    )
    assert service.http.post("/v1/manifests", content=foreign, headers=other | media).status_code == 400
    assert service.http.delete(path, headers=other).status_code == 404
    assert service.http.delete(path, headers=writer).status_code == 204
    assert service.http.get(path, headers=writer).status_code == 404
    assert service.http.delete(path, headers=writer).status_code == 404
    query = {"alg": ALG, "value": text(VALUE)}
    assert service.http.post("/v1/matches/byBinding", json=query, headers=writer).json() == {"matches": []}
    assert service.http.post("/v1/manifests", content=foreign, headers=writer | media).status_code == 400
    assert service.http.delete(f"/v1/manifests/{release_urn(RELEASE)}", headers=writer).status_code == 404


@pytest.mark.parametrize("damage", ["claim", "padding", "cut", "text", "empty"])
def test_what_is_no_intact_manifest_is_not_kept(damage: str, service: Service, foreign: bytes) -> None:
    changed = bytearray(foreign)
    changed[foreign.index(b"c2pa.claim.v2\0") + 60] ^= 1
    padded = bytearray(foreign)
    padded[-400] ^= 1
    body = {"claim": bytes(changed), "padding": bytes(padded), "cut": foreign[:-9], "text": b"marker", "empty": b""}[
        damage
    ]
    headers = service.headers("writer") | {"Content-Type": "application/c2pa"}
    assert service.http.post("/v1/manifests", content=body, headers=headers).status_code == 400


def test_every_operation_needs_its_own_scope(service: Service) -> None:
    manifest = f"/v1/manifests/{release_urn(RELEASE)}"
    binding = {"bindingValue": text(VALUE), "manifestId": "urn:c2pa:x"}
    for scope, method, path, extra in (
        ("fetch", "GET", "/v1/matches/byBinding?alg=a&value=AAAA", {}),
        ("fetch", "POST", "/v1/matches/byBinding", {"json": {"alg": "a", "value": "AAAA"}}),
        ("fetch", "POST", "/v1/matches/byContent", {"content": b"clip"}),
        ("fetch", "POST", "/v1/matches/byReference", {"json": {"referenceUrl": "https://x.example.org/"}}),
        ("fetch", "GET", manifest, {}),
        ("fetch", "GET", manifest + "/receipts", {}),
        ("store", "POST", "/v1/manifests", {"content": b"x"}),
        ("store", "DELETE", manifest, {}),
        ("store", "POST", manifest + "/receipts", {"json": {}}),
        ("bind", "POST", "/v1/bindings", {"json": binding}),
        ("bind", "PUT", "/v1/bindings", {"json": binding}),
    ):
        without = service.headers("other" if scope == "fetch" else "reader")
        assert service.http.request(method, path, headers=without, **extra).status_code == 403, path  # type: ignore[arg-type]
        unknown = service.http.request(method, path, **extra)  # type: ignore[arg-type]
        assert (unknown.status_code, "WWW-Authenticate" in unknown.headers) == (401, True), path


def test_unknown_secrets_tokens_and_scopes_are_refused(service: Service) -> None:
    wrong = service.http.post(
        "/oauth2/token", data={"grant_type": "client_credentials", "client_id": "reader", "client_secret": "x"}
    )
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    assert service.token("reader", scope="store:manifests").json()["error"] == "invalid_scope"
    assert service.token("reader", grant_type="password").json()["error"] == "unsupported_grant_type"
    basic = service.http.post("/oauth2/token", data={"grant_type": "client_credentials"},
                              auth=("reader", service.secrets["reader"]))  # fmt: skip
    assert basic.json()["scope"] == "fetch:manifests"
    assert basic.headers["cache-control"] == "no-store"
    token = basic.json()["access_token"]
    head, body, signature = token.split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    for bad in (
        f"{unsigned}.{body}.",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        "x",
        "a.b.c",
        token + "x",
        base64.urlsafe_b64encode(b"[" * 2999).decode() + ".b.c",
    ):
        answer = service.http.get("/v1/manifests/x", headers={"Authorization": f"Bearer {bad}"})
        assert answer.status_code == 401, bad


def test_a_token_runs_out_and_holds_for_one_service(tmp_path: Path) -> None:
    clock = [1_000_000.0]
    key = Ed25519PrivateKey.generate()
    clients = Clients(tmp_path / "clients.json")
    secret = clients.add("reader", (Scope.FETCH,))
    client = clients.authenticate("reader", secret)
    tokens = Tokens(key, issuer=BASE, clock=lambda: clock[0])
    bearer = "Bearer " + tokens.issue(client, None)[0]
    assert tokens.check(bearer).client_id == "reader"
    with pytest.raises(Exception, match="another service"):
        Tokens(key, issuer="https://other.example.org", clock=lambda: clock[0]).check(bearer)
    clock[0] += 601
    with pytest.raises(Exception, match="expired"):
        tokens.check(bearer)
    assert secret not in (tmp_path / "clients.json").read_text()
    assert (tmp_path / "clients.json").stat().st_mode & 0o777 == 0o600


def test_guessing_is_slowed_down_and_learns_nothing(service: Service, foreign: bytes) -> None:
    headers = service.headers("writer")
    path = (
        "/v1/manifests/"
        + service.http.post(
            "/v1/manifests", content=foreign, headers=headers | {"Content-Type": "application/c2pa"}
        ).json()["manifestId"]
    )
    service.http.delete(path, headers=headers)
    deleted, never = (
        service.http.get(path, headers=headers),
        service.http.get("/v1/manifests/urn:c2pa:none", headers=headers),
    )
    assert (deleted.status_code, deleted.content) == (never.status_code, never.content) == (404, never.content)
    slow = TestClient(create_app(replace(service.parts, rate=Rate(burst=12, per_minute=1))))
    answers = [slow.get("/v1/manifests/x", headers=headers) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {404, 429}
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_wrong_requests_are_problems_without_a_view_of_the_inside(service: Service) -> None:
    reader = service.headers("reader")
    binding = "/v1/matches/byBinding"
    for method, path, extra, status in (
        ("GET", f"{binding}?alg=a&value=%25%25", {}, 400),
        ("GET", f"{binding}?alg=a", {}, 400),
        ("GET", f"{binding}?alg=a&value=AAAA&maxResults=0", {}, 400),
        ("GET", f"{binding}?alg=a&value=AAAA&maxResults=101", {}, 400),
        ("GET", f"{binding}?alg=a&value={'A' * 5000}", {}, 414),
        ("POST", binding, {"json": {"alg": "a"}}, 400),
        ("POST", binding, {"json": {"alg": "a", "value": "AAAA", "more": 1}}, 400),
        ("POST", binding, {"content": b"\xff"}, 400),
        ("GET", "/v1/manifests/..%2f..%2fetc%2fpasswd", {}, 404),
        ("GET", "/v1/nothing", {}, 404),
        ("GET", f"/v1/manifests/{release_urn(7)}", {}, 404),
        ("GET", "/v1/manifests/<script>", {}, 404),
    ):
        answer = service.http.request(method, path, headers=reader, **extra)  # type: ignore[arg-type]
        assert answer.status_code == status, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert "Traceback" not in answer.text
        assert "<script>" not in answer.text


def test_what_everyone_may_ask_names_the_service(service: Service) -> None:
    found = service.http.get("/.well-known/c2pa-soft-binding-resolution").json()
    assert found["apiEndpoint"] == f"{BASE}/v1"
    assert service.http.get("/v1/services/status").json()["status"] == "ok"
    assert service.http.get("/v1/services/capabilities").json()["c2paSpecificationVersion"] == "2.4"
    assert service.http.get("/v1/services/supportedAlgorithms").json()["watermarks"] == [
        {"alg": SOFT_BINDING_ALGORITHM}
    ]
    service.parts.resolver.repository.close()
    assert service.http.get("/v1/services/status").json()["status"] == "down"
    query = {"alg": SOFT_BINDING_ALGORITHM, "value": text(RELEASE.to_bytes(8, "big"))}
    assert service.http.get("/v1/matches/byBinding", params=query, headers=service.headers("reader")).status_code == 503

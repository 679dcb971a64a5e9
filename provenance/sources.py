"""The tree of sources that a manifest names, all the way down, each with what the engine found about it."""

from collections.abc import Iterator, Mapping
from typing import Any

from provenance.credentials_report import SourceState, SourceStep
from provenance.manifest import hash_from_name

MAX_DEPTH = 32
MAX_SOURCES = 1000


def source_tree(manifests: Mapping[str, Mapping[str, Any]], active: str) -> tuple[SourceStep, ...]:
    """Depth first from the manifest `active`; a manifest that names itself again is not walked twice on one path."""
    steps: list[SourceStep] = []
    for step in _walk(manifests, active, 0, (active,)):
        steps.append(step)
        if len(steps) >= MAX_SOURCES:
            break
    return tuple(steps)


def _walk(
    manifests: Mapping[str, Mapping[str, Any]], label: str, depth: int, path: tuple[str, ...]
) -> Iterator[SourceStep]:
    for entry in manifests.get(label, {}).get("ingredients", []):
        failures = tuple(_failures(entry))
        below = entry.get("active_manifest")
        state: SourceState = "failed" if failures else "validated" if below else "no credentials"
        yield SourceStep(
            depth=depth,
            title=str(entry.get("title", "")),
            media_type=str(entry.get("format", "")),
            relationship=str(entry.get("relationship", "")),
            sha256=hash_from_name(str(entry.get("instance_id", ""))),
            state=state,
            failures=failures,
        )
        if isinstance(below, str) and below not in path and depth < MAX_DEPTH:
            yield from _walk(manifests, below, depth + 1, (*path, below))


def _failures(entry: Mapping[str, Any]) -> Iterator[str]:
    results = entry.get("validation_results") or {}
    deltas = [delta.get("validationDeltas", {}) for delta in results.get("ingredientDeltas", [])]
    for statuses in (results.get("activeManifest", {}), *deltas):
        for status in statuses.get("failure") or []:
            yield str(status.get("code", "general.error"))
    for status in entry.get("validation_status") or []:
        if not status.get("success", False):
            yield str(status.get("code", "general.error"))

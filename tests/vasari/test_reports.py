"""Pages are self-contained, escaped, and readable without sight."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from tests.vasari.evidence import (
    HOSTILE,
    audit,
    credentials,
    detection,
    hostile_credentials,
    mark,
    released,
    unmarked,
)
from vasari.clip_audit import ClipAudit, UnreadableClip
from vasari.evidence import Evidence
from vasari.reports import clip_page, demo_page, odds, scan_page
from vasari.thumbnails import Thumbnail
from vasari.verdict import TITLES

NOW = datetime(2026, 11, 22, tzinfo=UTC)
EVIDENCE = {
    "verified": released(detector=detection("likely_synthetic", 0.9)),
    "stripped": released(credentials=credentials("absent")),
    "broken": released(credentials=credentials("broken")),
    "likely synthetic": unmarked(detector=detection("likely_synthetic", 0.93)),
    "no evidence": unmarked(detector=detection("no_evidence", 0.1)),
    "can't tell": unmarked(detector=detection("abstained", reason="face 41 px, needs 64")),
    "nothing looked for": Evidence(),
    "conflict": released(audio_mark=mark("audio", 5)),
}


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def with_thumbnails(clip: ClipAudit) -> ClipAudit:
    """The audit with two tiny pictures."""
    return replace(clip, thumbnails=(Thumbnail(0.5, b"\xff\xd8one"), Thumbnail(1.5, b"\xff\xd8two")))


def pages() -> list[str]:
    """One of each page, with every kind of evidence."""
    clips = [with_thumbnails(audit(evidence, path=f"up/{name}.mp4")) for name, evidence in EVIDENCE.items()]
    demo = demo_page(clip=clips[0], stripped=clips[1], video=b"mp4", contact_sheet=b"png", steps=[("Made", "a clip")])
    scan = scan_page(clips, [UnreadableClip("bad.mp4", "not media")], made_at=NOW)
    return [*(clip_page(clip) for clip in clips), demo, scan]


def test_no_page_runs_a_script_or_asks_the_network() -> None:
    for html in pages():
        assert "default-src 'none'" in html
        for tag, attributes in Page(html).tags:
            assert tag not in ("script", "iframe", "object", "embed", "link", "form", "base")
            assert not any(name.startswith("on") for name in attributes)
            for name in ("src", "href", "action", "srcset", "poster"):
                assert (attributes.get(name) or "data:").startswith(("data:", "#"))
        assert not re.search(r"url\(|@import|https?://", html)


def test_every_picture_has_a_text_and_every_table_its_headers() -> None:
    for html in pages():
        tags = Page(html).tags
        assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
        assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")
        assert html.count("<table") == html.count("<thead")
        assert sum(tag == "h1" for tag, _ in tags) == 1
        assert all(
            attributes.get("aria-label") or attributes.get("aria-hidden") for tag, attributes in tags if tag == "svg"
        )


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text(text: str) -> None:
    evidence = unmarked(credentials=hostile_credentials(text), detector=detection("abstained", reason=text))
    clip = with_thumbnails(audit(evidence, path=f"uploads/{text}.mp4"))
    harmless = clip_page(with_thumbnails(audit(unmarked(detector=detection("abstained", reason="x")))))
    for html in (clip_page(clip), scan_page([clip], [UnreadableClip(text, text)], made_at=NOW)):
        page = Page(html)
        assert not any(tag == "script" for tag, _ in page.tags)
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert not set("\x1b\x07\u202e") & set(html)
        assert "root:" not in page.text
        assert len(html) < len(harmless) * 2 + 60_000
    assert sum(tag == "img" for tag, _ in Page(clip_page(clip)).tags) == 2


def test_each_verdict_is_named_with_what_decided_it() -> None:
    for evidence in EVIDENCE.values():
        clip = audit(evidence)
        text = Page(clip_page(clip)).text
        assert TITLES[clip.verdict.state] in text
        assert all(sentence in text for sentence in (*clip.verdict.explanation, *clip.verdict.conflicts))


def test_a_scan_is_ranked_by_what_needs_a_look_first() -> None:
    clips = [audit(evidence, path=f"{name}.mp4") for name, evidence in EVIDENCE.items()]
    html = scan_page(clips, (), made_at=NOW)
    order = [html.index(f">{name}.mp4</a>") for name in ("broken", "likely synthetic", "stripped", "no evidence")]
    assert order == sorted(order)


def test_unreadable_files_are_rows_with_their_error() -> None:
    assert "12 bytes that no demuxer knows" in scan_page(
        [], [UnreadableClip("b.mp4", "12 bytes that no demuxer knows")], made_at=NOW
    )


def test_tiny_probabilities_are_written_for_people() -> None:
    assert odds(-21.4) == "1 in 10²¹"
    assert odds(0.0) == "1"


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_colour_has_enough_contrast(scheme: int) -> None:
    html = clip_page(audit(released()))
    schemes = re.findall(r":root \{(.*?)\}", html, re.DOTALL)
    colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", schemes[scheme]))
    for text in ("ink", "soft", "good", "known", "warn", "bad", "open"):
        for ground in ("paper", "card", "wash"):
            light, dark = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def test_every_row_of_a_scan_leads_to_its_evidence() -> None:
    clips = [audit(evidence, path=f"{name}.mp4") for name, evidence in EVIDENCE.items()]
    tags = Page(scan_page(clips, (), made_at=NOW)).tags
    targets = {attributes["id"] for _, attributes in tags if attributes.get("id")}
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert len(links) == len(clips)
    assert {(link or "").removeprefix("#") for link in links} == targets

"""Audits as HTML pages with inline SVG plots, and contact sheets."""

from vasari.reports.contact_sheet import contact_sheet
from vasari.reports.page import clip_page, demo_page, odds, scan_page

__all__ = ["clip_page", "contact_sheet", "demo_page", "odds", "scan_page"]

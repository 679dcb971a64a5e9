"""The C2PA Soft Binding Resolution API 2.4 over a manifest repository, as an HTTP service."""

from vasari.service.access import Clients, Scope
from vasari.service.app import ServiceParts, create_app

__all__ = ["Clients", "Scope", "ServiceParts", "create_app"]

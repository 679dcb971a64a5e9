"""The purposes a consent or an accreditation can name, as a command-line option."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

PURPOSE_IDS = (
    "detector-evaluation",
    "detector-training",
    "watermark-research",
    "generation-research",
    "demonstration",
)
"""`policy.PURPOSES` by name, so that `--help` needs no heavy import; a test keeps the two equal."""


def purpose_option(*, help_text: str, required: bool = False) -> Callable[[Command], Command]:
    """`--purpose`, repeatable, from the closed vocabulary."""
    return click.option("--purpose", type=click.Choice(PURPOSE_IDS), multiple=True, required=required, help=help_text)

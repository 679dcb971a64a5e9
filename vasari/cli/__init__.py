"""The `vasari` command: one module per command group."""

import click

import vasari
from vasari.cli.accredit import accredit
from vasari.cli.broker import broker
from vasari.cli.consent import consent
from vasari.cli.consent_signing import accept, delegate, enrol, lost, propose
from vasari.cli.consent_status import erase, record, reinstate, suspend, uses, withdraw
from vasari.cli.demo import demo
from vasari.cli.generate import generate
from vasari.cli.init import init
from vasari.cli.key import key
from vasari.cli.log import log
from vasari.cli.mark import mark
from vasari.cli.pki import pki
from vasari.cli.policy import policy
from vasari.cli.registry import registry
from vasari.cli.report import report
from vasari.cli.scan import scan
from vasari.cli.seal import seal
from vasari.cli.serve import client, serve
from vasari.cli.session import EXIT_CODES_HELP
from vasari.cli.verify import verify
from vasari.cli.worker import worker

__all__ = ["cli", "main"]


@click.group(epilog=EXIT_CODES_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(vasari.__version__, "-V", "--version", prog_name="vasari")
def cli() -> None:
    """Talking clips with consent, watermark and signed credentials; an explained verdict on any clip.

    \b
    Try it:            vasari demo
    Make an authority: vasari init
    A reviewer:        vasari scan uploads/ --html scan.html
    An auditor:        vasari verify clip.mp4 --report clip.html

    Every command takes --json and --state; `vasari COMMAND --help` shows an example.
    """


for command in (
    init, consent, accredit, generate, verify, scan, mark, report, log, policy, pki, key, broker,
    registry, worker, serve, client, seal, demo,
):  # fmt: skip
    cli.add_command(command)


for command in (enrol, propose, accept, delegate, lost, withdraw, suspend, reinstate, uses, record, erase):
    consent.add_command(command)


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="vasari")

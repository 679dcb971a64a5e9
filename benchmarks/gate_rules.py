"""Property runs of the gate's rules, at the counts that a test suite has no time for.

    python -m benchmarks.gate_rules --facts 100000 --chains 100000

Missing facts: random requests with up to four faults lose random facts; none may be allowed then. Delegation:
random chains of real signed hops, some of which widen; what the gate takes is compared, clip by clip, with an
oracle that shares no code with it, and the hop that widened must be named.
"""

from __future__ import annotations

import copy
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tqdm import tqdm

from benchmarks.results_page import write_results
from policy.consent_token import ConsentClaims, LikenessGeneration
from policy.delegation_token import DelegationClaims, sign_delegation, verify_chain
from policy.errors import TokenError
from policy.keys import thumbprint
from policy.proof_of_possession import token_hash
from policy.rules import evaluate
from tests.policy.delegation_chains import build, child_of, may
from tests.policy.test_consent_token import CLAIMS
from tests.policy.test_rules import CASES, FACT_NAMES, GOOD

KEYS = [Ed25519PrivateKey.generate() for _ in range(6)]
JKTS = [thumbprint(key) for key in KEYS]
MAX_HOPS = 4
HOP = re.compile(r"hop ([0-9])")


def missing_facts(count: int, source: random.Random) -> Counter[str]:
    """How many of `count` requests were allowed without one of their facts."""
    found: Counter[str] = Counter(tried=count)
    for _ in tqdm(range(count), desc="missing facts", disable=None):
        facts = GOOD
        for _, changes in source.sample(CASES, source.randrange(5)):
            facts = replace(facts, **changes)
        names: list[Any] = source.sample(FACT_NAMES, source.randint(1, 3))
        found["allowed"] += evaluate(replace(facts, **dict.fromkeys(names))) == ()
    return found


def chains(count: int, source: random.Random) -> Counter[str]:
    """Random chains: `widened` (taken although wider), `unnamed` (refused without naming the hop), `taken`."""
    found: Counter[str] = Counter(tried=count)
    pick = _picker(source)
    for _ in tqdm(range(count), desc="chains", disable=None):
        root = _root(build(pick))
        terms, tokens = _hops(root, pick, source)
        first_wider = next((n for n, (one, two) in enumerate(pairwise(terms), 1) if _wider(one, two)), None)
        try:
            chain = verify_chain(root, "root", tokens)
        except TokenError as error:
            named = HOP.search(error.fact)
            found["refused"] += 1
            found["unnamed"] += named is None or first_wider is None or int(named.group(1)) > first_wider
        else:
            found["taken"] += 1
            found["widened"] += may(root.allows, chain.allows) is not None or first_wider is not None
    return found


def _wider(parent: LikenessGeneration, child: LikenessGeneration) -> bool:
    """The oracle: a clip that only the child allows, or a promise about the voice that was dropped."""
    return may(parent, child) is not None or parent.audio.voice not in ("any", child.audio.voice)


def _root(terms: LikenessGeneration) -> ConsentClaims:
    members = copy.deepcopy(CLAIMS) | {"exp": 1_000_000, "cnf": {"jkt": JKTS[0]}, "delegation": {"max_depth": MAX_HOPS}}
    return ConsentClaims.model_validate(members | {"authorization_details": [terms.model_dump()]})


def _hops(root: ConsentClaims, pick: Any, source: random.Random) -> tuple[list[LikenessGeneration], list[str]]:
    """Signed hops, mostly narrowing; the terms from the root on."""
    terms, tokens, parent_token = [root.allows], [], "root"
    for number in range(1, source.randint(1, MAX_HOPS) + 1):
        terms.append(terms[-1] if source.random() < 0.3 else child_of(pick, terms[-1]))
        claims = DelegationClaims.model_validate(
            {
                "iss": f"jkt:{JKTS[number - 1]}", "sub": root.sub, "aud": root.aud, "iat": root.iat, "nbf": root.nbf,
                "exp": root.exp, "jti": f"hop-{number}", "prn": token_hash(parent_token),
                "authorization_details": [terms[-1].model_dump()], "cnf": {"jkt": JKTS[number]},
                "delegation": {"max_depth": MAX_HOPS - number},
            }
        )  # fmt: skip
        parent_token = sign_delegation(claims, KEYS[number - 1])
        tokens.append(parent_token)
    return terms, tokens


def _picker(source: random.Random) -> Any:
    def pick(options: list[Any], *, many: bool = False) -> Any:
        return source.sample(options, source.randint(0, len(options))) if many else source.choice(options)

    return pick


@click.command(help=__doc__)
@click.option("--facts", type=click.IntRange(min=0), default=100_000, show_default=True)
@click.option("--chains", "chain_count", type=click.IntRange(min=0), default=100_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(facts: int, chain_count: int, seed: int) -> None:
    source = random.Random(seed)
    command = f"python -m benchmarks.gate_rules --facts {facts} --chains {chain_count} --seed {seed}"
    rows: dict[str, dict[str, Any]] = {}
    if facts:
        found = missing_facts(facts, source)
        click.echo(dict(found))
        rows["missing_fact_allows"] = {"value": found["allowed"], "unit": "requests", "n": facts, "command": command}
    if chain_count:
        found = chains(chain_count, source)
        click.echo(dict(found))
        for name in ("widened", "unnamed"):
            rows[f"delegation_{name}"] = {"value": found[name], "unit": "chains", "n": chain_count, "command": command}
    write_results("gate", rows)


if __name__ == "__main__":
    main()

"""A second book of accounts: a month's cost for every number of users at once, written without the planner's curves.

It shares nothing with the planner but the meaning of a price. Money is in floats; where that is too coarse to tell
two bills apart the caller looks closer, with `exact`.
"""

from dataclasses import dataclass
from fractions import Fraction
from random import Random

import numpy as np

HOURS = 730
RECORDS = 1024


@dataclass(frozen=True)
class Prices:
    """One provider's prices in dollars: by month, by key in tiers, by 10,000 operations beyond the free ones."""

    flat: Fraction
    hourly: Fraction
    tiers: tuple[tuple[int, Fraction], ...]
    operations: Fraction
    free: int

    @classmethod
    def drawn(cls, random: Random) -> "Prices":
        edges = sorted({0, *(random.randrange(1, 200_000) for _ in range(random.randrange(3)))})
        return cls(
            flat=Fraction(random.choice([0, 0, random.randrange(1, 4000)])),
            hourly=Fraction(random.choice([0, 0, random.randrange(1, 500)]), 100),
            tiers=tuple((edge, Fraction(random.randrange(0, 300), 100)) for edge in edges),
            operations=Fraction(random.randrange(0, 40), 100),
            free=random.choice([0, 20_000, random.randrange(1, 10**6)]),
        )

    def toml(self, name: str) -> str:
        """The same prices as a catalogue has them."""
        evidence = 'source = "a test"\nas_of = "today"\nconfidence = "high"\n'
        described = (
            f'[[provider]]\nname = "{name}"\ntitle = "{name}"\ndriver = "pkcs11"\ncloud = true\nhardware = true\n'
            f'single_tenant = true\nfips = ""\nkinds = ["aes", "hmac", "ec"]\n{evidence}'
        )
        parts = [described]
        items = [("flat", "month", self.flat, 0), ("hsm", "hsm_hour", self.hourly, 0)]
        items += [("operations.symmetric", "10k_ops", self.operations, 0)]
        items += [(f"key.{kind}", "key_month", usd, edge) for kind in ("aes", "hmac") for edge, usd in self.tiers]
        for item, unit, usd, edge in items:
            parts.append(
                f'[[price]]\nprovider = "{name}"\nitem = "{item}"\nunit = "{unit}"\nusd = {float(usd):.2f}\n'
                f"above = {edge}\ndefault = true\n{evidence}"
            )
        if self.free:
            parts.append(
                f'[[limit]]\nprovider = "{name}"\nitem = "free_operations"\nunit = "requests_month"\n'
                f"value = {self.free}\ndefault = true\n{evidence}"
            )
        return "\n".join(parts)


@dataclass(frozen=True)
class Work:
    """What users do; yearly rates in quarters, the hit rate in percent."""

    signatures_quarters: int
    rotations_quarters: int
    creations: int
    hit_percent: int
    versions: int
    buckets: int
    custody: str

    @classmethod
    def drawn(cls, random: Random) -> "Work":
        return cls(
            signatures_quarters=random.choice([0, random.randrange(200), random.randrange(3000)]),
            rotations_quarters=random.choice([0, 1, 4, random.randrange(50)]),
            creations=random.choice([0, random.randrange(50_000)]),
            hit_percent=random.choice([0, 0, random.randrange(101)]),
            versions=random.randrange(1, 4),
            buckets=random.choice([0, 1, random.randrange(1, 3000)]),
            custody=random.choice(["direct", "hybrid", "hierarchical"]),
        )

    @property
    def nodes(self) -> Fraction:
        """Buckets hit by the users of each page, less those of the page before that a cache of 256 holds still."""
        if not self.buckets:
            return Fraction(self.creations)
        pages = [self.creations] if self.buckets <= 256 else self._pages()
        hit = sum(self.buckets - self.buckets * (1 - 1 / self.buckets) ** page for page in pages)
        most = min(256, int(self.buckets - self.buckets * (1 - 1 / self.buckets) ** RECORDS))
        again = sum((256 - j) / (self.buckets - j) for j in range(most)) if self.buckets > 256 else 0
        return Fraction(round((hit - max(0, len(pages) - 1) * again) * 10**6), 10**6)

    def _pages(self):
        return [min(RECORDS, self.creations - start) for start in range(0, self.creations, RECORDS)]


def _cut(count, prices: Prices, number):
    """Keys under tiers, and what they cost."""
    edges = [*(edge for edge, _ in prices.tiers), None]
    total = 0
    for (edge, usd), end in zip(prices.tiers, edges[1:], strict=True):
        inside = np.maximum(count - edge, 0) if end is None else np.clip(count - edge, 0, end - edge)
        total = total + inside * number(usd)
    return total


def bill(users, prices: Prices, work: Work, number=float):
    """The month's cost; with `number=Fraction` and whole numbers (dtype object) it is exact."""
    miss = number(Fraction(100 - work.hit_percent, 100))
    pages = -(-work.creations // RECORDS)
    signed = users * number(Fraction(work.signatures_quarters, 48))
    rotated = users * number(Fraction(work.rotations_quarters, 48))
    if work.custody == "hierarchical":
        made = number(work.nodes)
        operations = made + (signed + rotated + work.creations) * miss
        keys = users * 0 + 1
    else:
        opened = (signed + rotated + 2 * work.creations) * miss
        if work.custody == "hybrid":
            filled = -(-(users * work.rotations_quarters + 48 * work.creations) // (48 * RECORDS))
            operations = opened + 2 * pages + filled
            keys = users * 0 + 2 * work.versions
        else:
            operations = opened + pages + work.creations
            keys = (users + 1) * work.versions
    paid = np.maximum(operations - prices.free, 0)
    fixed = prices.flat + prices.hourly * HOURS
    return _cut(keys, prices, number) + paid * number(prices.operations / 10_000) + number(fixed)


def exact(users: int, prices: Prices, work: Work) -> Fraction:
    """The month's cost at one number of users, in fractions."""
    return bill(np.array([users], dtype=object), prices, work, Fraction)[0]

"""The office: where campaigns are started, watched, paused and ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icehouse.campaigns import transport
from icehouse.campaigns.meter import pace_name
from icehouse.campaigns.verbs import VERBS
from icehouse.campaigns.worker import WorkerPool
from icehouse.custody import Verb, check_allowed
from icehouse.errors import RequestError
from icehouse.hsm import KeyKind
from icehouse.model import MAX_EPOCH, Role, State, check_suite
from icehouse.planner.quote import quotes
from icehouse.store import campaigns, data_keys, rates, root_keys, selection
from icehouse.store.campaigns import CampaignState, NothingMatchesError
from icehouse.store.selection import Filters
from icehouse.upkeep import rewrap as rewrapping
from icehouse.vault import move_records

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from icehouse.planner.quote import Quote
    from icehouse.store.campaigns import Campaign, Progress
    from icehouse.store.selection import Range
    from icehouse.vault.vault import Vault

KEYS_PER_PAGE = 500
_ROW_FILTERS = ("unchanged_since", "epoch", "suite", "state", "origin")
_DAYS = ("due_from", "due_by", "due_after")


@dataclass(frozen=True, slots=True)
class Report:
    """A campaign, what became of its keys, why it failed on some, and what its HSM operations cost."""

    campaign: Campaign
    progress: Progress
    reasons: dict[str, int]
    quotes: list[Quote]


class Campaigns:
    """A vault's campaigns."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._database = vault.store.database

    def start(self, verb: str, filters: Filters | None = None, *, rate: float | None = None) -> Campaign:
        """Write down a campaign and its pages; workers do the rest.

        Raises `RequestError` where nothing matches, `ConflictError` while another of the verb is under way.
        """
        if verb not in VERBS:
            msg = f"the verb must be one of {', '.join(VERBS)}, not {verb!r}"
            raise RequestError(msg)
        if rate is not None:
            rates.check_rate(rate)
        if any(other.verb == verb and other.ended is None for other in self.all()):
            campaigns.raise_under_way(verb)
        filters, ranges = self._pages(verb, self._checked(verb, filters or Filters()))
        if not ranges:
            msg = f"no key is left for this campaign of {verb}: nothing matches its filters"
            raise NothingMatchesError(msg, hint="'icehouse users list' and 'icehouse doctor' show what there is")
        others = any(other.ended is None for other in self.all())
        campaign = campaigns.register(self._database, verb, filters, ranges)
        if rate is not None or not others:
            self._limit(rate)
        transport.announce(self._database, campaign.id, len(ranges))
        return campaign

    def _limit(self, rate: float | None) -> None:
        for name in {pace_name(hsm.info) for hsm in self._vault.custody.roots.hsms}:
            rates.limit(self._database, name, rate)

    def _checked(self, verb: str, filters: Filters) -> Filters:
        if filters.suite is not None:
            check_suite(filters.suite)
        if filters.epoch is not None and not 0 <= filters.epoch < MAX_EPOCH:
            msg = f"the epoch must be a number from 0 to {MAX_EPOCH - 1}, not {filters.epoch}"
            raise RequestError(msg)
        if filters.state is not None and filters.state not in {State.DEALT, State.LIVE, State.SUSPENDED, State.LOST}:
            msg = f"the state must be one of dealt, live, suspended, lost, not {filters.state!r}"
            raise RequestError(msg)
        if verb == "rewrap":
            given = [name for name in _ROW_FILTERS if getattr(filters, name) is not None]
            if given:
                msg = (
                    f"rewrap is about data keys, each of which many users share: {given[0]} does not choose among them"
                )
                raise RequestError(msg, hint="choose by data key, root key or provider")
        given_days = [name for name in _DAYS if getattr(filters, name) is not None]
        if verb != "rotate" and given_days:
            msg = f"only rotate is spread over days: for {verb}, {given_days[0]} chooses no key"
            raise RequestError(msg)
        self._check_root_keys(filters)
        if verb == "destroy" and filters == Filters():
            msg = "destroy needs a filter: without one it would remove every user"
            raise RequestError(msg)
        if verb in {"rotate", "suspend"}:
            return self._of_live_keys(verb, filters)
        self._check_data_keys(filters)
        return filters

    def _of_live_keys(self, verb: str, filters: Filters) -> Filters:
        if filters.state not in {None, State.LIVE}:
            msg = f"{verb} is about keys that devices use, which are live, not {filters.state}"
            raise RequestError(msg)
        self._check_data_keys(filters)
        today = self._vault.today
        if verb == "suspend":
            before = today - self._vault.rotation.grace if filters.due_before is None else filters.due_before
            return replace(filters, state=State.LIVE, due_before=before)
        start = today if filters.due_from is None else filters.due_from
        by = start if filters.due_by is None else filters.due_by
        if by < today or not start <= by <= selection.LAST_DAY:
            msg = "the day by which every key is to be due must be today or later, and before the year 2057"
            raise RequestError(msg)
        quiet = start if filters.not_due_by is None else filters.not_due_by
        return replace(filters, state=State.LIVE, due_from=start, due_by=by, not_due_by=quiet)

    def _check_data_keys(self, filters: Filters) -> None:
        known = {row.number for row in data_keys.counts(self._database)} if filters.data_keys else set()
        unknown = sorted(set(filters.data_keys) - known)
        if unknown:
            msg = f"there is no data key {', '.join(map(str, unknown))}"
            raise RequestError(msg)

    def _check_root_keys(self, filters: Filters) -> None:
        unknown = sorted(label for label in filters.root_keys if root_keys.root_of(self._database, label) is None)
        if unknown:
            msg = f"this vault has no root key {', '.join(unknown)}"
            raise RequestError(msg)

    def _pages(self, verb: str, filters: Filters) -> tuple[Filters, list[Range]]:
        if verb == "rewrap":
            return self._data_key_pages(filters)
        if verb == "reseal":
            return self._reseal_pages(filters)
        return filters, list(selection.key_pages(self._database, filters, KEYS_PER_PAGE))

    def _data_key_pages(self, filters: Filters) -> tuple[Filters, list[Range]]:
        """New root keys first: nothing new comes under the old ones while the pages are worked on."""
        rewrapping.begin(self._vault)
        size = self._vault.custody.data_keys_per_page
        return filters, list(selection.data_key_pages(self._database, filters, size))

    def _reseal_pages(self, filters: Filters) -> tuple[Filters, list[Range]]:
        """All old data keys take no more records first: a record that leaves one must not come under another."""
        self._vault.follow()
        check_allowed(self._vault.custody, Verb.RESEAL)
        if not filters.data_keys:
            filters = replace(filters, below=data_keys.next_number(self._database))
        if next(selection.key_pages(self._database, filters, 1), None) is None:
            return filters, []
        old = filters.data_keys or [row.number for row in data_keys.counts(self._database) if row.state != "gone"]
        move_records.retire(self._vault, list(old))
        # Only now: whatever came under one of them until then is in a page.
        return filters, list(selection.key_pages(self._database, filters, KEYS_PER_PAGE))

    def roots_at(self, provider: str) -> tuple[str, ...]:
        """The root keys that live in an HSM of this provider; raises `RequestError` where there is none."""
        record, roots = self._vault.store.reload(), self._vault.custody.roots
        kinds = {root.label: KeyKind.HMAC for root in record.roots if root.role is Role.MASTER}
        found = [
            label
            for label in sorted({*kinds, *selection.roots_in_use(self._database)})
            if roots.find(label, kinds.get(label, KeyKind.AES))[0].info.provider == provider
        ]
        if not found:
            known = ", ".join(sorted({hsm.info.provider for hsm in roots.hsms}))
            msg = f"no key of this vault is at the provider {provider!r}; its HSMs are of {known}"
            raise RequestError(msg)
        return tuple(found)

    def all(self) -> list[Campaign]:
        """Every campaign there ever was, the newest first."""
        return campaigns.all_campaigns(self._database)

    def report(self, number: int) -> Report:
        """What became of a campaign so far."""
        found = campaigns.campaign_of(self._database, number)
        progress = campaigns.progress(self._database, number)
        driver = self._vault.custody.hsm.info.provider
        return Report(
            found, progress, campaigns.reasons(self._database, number), quotes(driver, progress.operations, 0)
        )

    def findings(self, number: int) -> list[tuple[str, str, str]]:
        """What a campaign failed on: whose key it is, the reason, and the words."""
        return campaigns.found_by(self._database, number)

    def pause(self, number: int) -> Campaign:
        """Let no page be begun; those begun come to their end."""
        return campaigns.pause(self._database, number)

    def resume(self, number: int) -> Campaign:
        """Go on with a campaign that was paused."""
        found = campaigns.resume(self._database, number)
        left = campaigns.progress(self._database, number)
        transport.announce(self._database, number, left.pages - left.pages_done)
        return found

    def cancel(self, number: int) -> Campaign:
        """End a campaign where it stands; what is done stays done."""
        return campaigns.cancel(self._database, number)

    def run(
        self, number: int, threads: int, stop: Event, advance: Callable[[int], None] = lambda _: None
    ) -> CampaignState:
        """Work on one campaign in this process until it does not run any more."""
        WorkerPool(self._vault, threads, campaign=number, stop=stop, advance=advance).run()
        return campaigns.campaign_of(self._database, number).state

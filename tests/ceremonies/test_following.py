"""A vault's settings that another process changes while threads of this one read them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from icehouse.model import Purpose, Role
from icehouse.upkeep import rewrap
from icehouse.vault.opening import create_vault
from icehouse.vault.settings import Settings
from icehouse.vault.vault import Vault


def test_a_slow_thread_does_not_bring_a_vault_back_to_settings_of_before():
    vault = create_vault(Settings("sqlite://", "simulated:"), "hybrid")
    make, read, overtaken = vault.custody_of, Event(), Event()

    def slow(record):
        made = make(record)
        if not read.is_set():
            read.set()
            overtaken.wait(1)  # whoever must wait for this thread does so for a second
        return made

    vault.custody_of = slow
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(vault.refresh)
        read.wait()
        rewrap.begin(Vault(vault.store, make))
        vault.refresh()
        overtaken.set()
        late.result()

    assert vault.custody.root_key(Purpose.SERVER, None) == vault.store.record.current(Role.KEK).label
    assert vault.store.record.current(Role.KEK).version == 2
    assert not vault.follow()

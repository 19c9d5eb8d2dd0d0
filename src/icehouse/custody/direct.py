"""Direct custody: one HSM key per user wraps that user's data key. What the HSM's capacity allows, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from icehouse.custody.hybrid import HybridCustody
from icehouse.model import USERS_OWN, Purpose, Role, user_label

if TYPE_CHECKING:
    from typing import Self

    from icehouse.custody.custody import Means
    from icehouse.model import Key, WrappedKey


class DirectCustody(HybridCustody):
    """Hybrid custody whose `kek` is each user's own."""

    name: ClassVar[str] = "direct"
    roles: ClassVar[tuple[Role, ...]] = (Role.CLAIM,)
    users_own: ClassVar[bool] = True
    pages_together: ClassVar[int] = 1
    """Keys inside the HSM are few and dear: a page of them is written as soon as they are there."""
    data_keys_per_page: ClassVar[int] = 100

    @classmethod
    def over(cls, means: Means) -> Self:
        """The custody of a vault, which never was hierarchical."""
        return cls(means.record, means.roots, means.wrapped_keys, means.keys, means.reload)

    def root_key(self, purpose: Purpose, key: Key | None, *, software: bool = False) -> str | None:
        """The label of the user's own HSM key, or of the vault's claim key."""
        if purpose is Purpose.CLAIM:
            return super().root_key(purpose, key, software=software)
        if key is None:
            return None
        if key.sealed.data_key:
            return self._wrapped_keys.wrapped_key(key.sealed.data_key).root_key
        return user_label(key.key_id, 1, software=software)

    def is_outdated(self, key: Key) -> bool:
        """Never: no vault becomes direct."""
        del key
        return False

    def _is_root(self, wrapped: WrappedKey) -> bool:
        """Whether a data key of this purpose may be wrapped by this root key; the HSM knows the users' own."""
        if wrapped.purpose is Purpose.SERVER:
            return wrapped.root_key.startswith(USERS_OWN)
        return super()._is_root(wrapped)

"""The statements of every request, built once: building one costs more than running it."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, case, delete, insert, select, update

from icehouse.model import RECORDS_PER_DATA_KEY, Role, RootState
from icehouse.store.schema import claims, data_keys, keys, offers, root_keys, vault

JOINED = select(keys, claims, offers).select_from(
    keys.outerjoin(claims, claims.c.id == keys.c.id).outerjoin(offers, offers.c.id == keys.c.id)
)
BY_KEY_TAG = JOINED.where(keys.c.key_tag == bindparam("tag"))
BY_USER_TAG = JOINED.where(keys.c.user_tag == bindparam("tag"))
BY_USER_TAGS = JOINED.where(keys.c.user_tag.in_(bindparam("tags", expanding=True)))
_last = bindparam("last", type_=keys.c.id.type)
# Said of each table: PostgreSQL would else read the indexes of the others from their beginnings for every page.
AFTER = (
    select(keys, claims, offers)
    .select_from(
        keys.outerjoin(claims, and_(claims.c.id == keys.c.id, claims.c.id > _last)).outerjoin(
            offers, and_(offers.c.id == keys.c.id, offers.c.id > _last)
        )
    )
    .where(keys.c.id > _last)
    .order_by(keys.c.id)
)
PAGE_AFTER = AFTER.limit(1000)
CHANGED_AFTER = PAGE_AFTER.where(keys.c.changed >= bindparam("since"))
TAKEN_TAGS = select(keys.c.user_tag).where(keys.c.user_tag.in_(bindparam("tags", expanding=True)))

# The row's other columns are set by the parameters that bear their names.
REPLACE_KEY = (
    update(keys)
    .where(keys.c.id == bindparam("seen_id"), keys.c.rev == bindparam("seen_rev"))
    .values(rev=keys.c.rev + 1)
)
RECREATE_KEY = REPLACE_KEY.values(
    suite=bindparam("suite"), generation=bindparam("generation"), key_tag=bindparam("key_tag")
)
DELETE_CLAIM = delete(claims).where(claims.c.id == bindparam("of"))
DELETE_OFFER = delete(offers).where(offers.c.id == bindparam("of"))
INSERT_CLAIM = insert(claims)
INSERT_OFFER = insert(offers)

DATA_KEY = select(data_keys).where(data_keys.c.number == bindparam("number"))
FILLING_KEY = (
    select(data_keys)
    .where(
        data_keys.c.purpose == bindparam("purpose"),
        data_keys.c.root_key == bindparam("root_key"),
        data_keys.c.state == "filling",
        data_keys.c.used <= RECORDS_PER_DATA_KEY - bindparam("room", type_=data_keys.c.used.type),
    )
    .order_by(data_keys.c.number.desc())
    .limit(1)
)
ROOT_STATE = select(root_keys.c.state).where(root_keys.c.label == bindparam("root")).with_for_update(read=True)
CURRENT_CLAIM = (
    select(root_keys.c.label)
    .where(root_keys.c.role.in_((Role.CLAIM, Role.SOFTWARE_CLAIM)), root_keys.c.state == RootState.CURRENT)
    .with_for_update(read=True)
)
INSERT_DATA_KEY = insert(data_keys)
_used = data_keys.c.used + bindparam("records", type_=data_keys.c.used.type)
TAKE_SLOTS = (
    update(data_keys)
    .where(data_keys.c.number == bindparam("key"), data_keys.c.state == "filling", _used <= RECORDS_PER_DATA_KEY)
    .values(
        used=_used,
        live=data_keys.c.live + bindparam("records", type_=data_keys.c.used.type),
        state=case((_used >= RECORDS_PER_DATA_KEY, "closed"), else_="filling"),
    )
)
LEAVE_SLOTS = (
    update(data_keys)
    .where(data_keys.c.number == bindparam("key"))
    .values(live=data_keys.c.live - bindparam("records", type_=data_keys.c.live.type))
)
HOLD_VAULT = select(vault.c.id).with_for_update()
TAKE_NUMBERS = {
    counter: update(vault)
    .values({counter: vault.c[counter] + bindparam("numbers", type_=vault.c[counter].type)})
    .returning(vault.c[counter])
    for counter in ("next_data_key", "next_key")
}

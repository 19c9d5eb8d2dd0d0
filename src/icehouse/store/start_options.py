"""What a connection asked of the server in its start-up options, and whether it got that: a pooler may drop them."""

from __future__ import annotations

from typing import Any

from icehouse.errors import StoreError

_COMPARED = """
SELECT asked.name, asked.value, current_setting(asked.name, true),
       CASE WHEN coalesce(settings.context, 'user') IN ('user', 'superuser')
            THEN set_config(asked.name, asked.value, true) ELSE asked.value END
FROM unnest(%s::text[], %s::text[]) AS asked (name, value)
LEFT JOIN pg_settings AS settings ON settings.name = asked.name
"""
"""What was asked for, what is, and what was asked for as the server would write it; nothing is left set."""


def asked_for(options: str) -> dict[str, str]:
    """The settings in libpq's `options`, whether `-c name=value`, `-cname=value` or `--name=value`."""
    found = {}
    words = iter(_words(options))
    for word in words:
        setting = next(words, "") if word == "-c" else word.removeprefix("-c").removeprefix("--")
        name, equals, value = setting.partition("=")
        if equals and (word == "-c" or word.startswith(("-c", "--"))):
            found[name.replace("-", "_").lower()] = value
    return found


def _words(options: str) -> list[str]:
    """Divided at white space, which a backslash makes a part of a word."""
    words = [""]
    escaped = False
    for character in options:
        if not escaped and character == "\\":
            escaped = True
            continue
        if character.isspace() and not escaped:
            words.append("")
        else:
            words[-1] += character
        escaped = False
    return [word for word in words if word]


def check(connection: Any) -> None:  # noqa: ANN401  the driver's own class
    """Raise `StoreError` unless the session has every setting that was asked for."""
    asked = asked_for(connection.info.options)
    if not asked:
        return
    for name, value, now, meant in connection.execute(_COMPARED, (list(asked), list(asked.values()))).fetchall():
        if now is None or _normal(now) != _normal(meant):
            msg = f"the database did not take what its URL asks for: {name} is {now!r}, not {value!r}"
            raise StoreError(
                msg,
                hint="a pooler in front of it drops start-up options: give the role the setting "
                f"(ALTER ROLE … SET {name}), or connect to the server itself",
            )


def _normal(value: str) -> str:
    """A list such as a search_path is the same with and without blanks after its commas."""
    return ",".join(part.strip() for part in value.split(","))

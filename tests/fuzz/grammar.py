"""Messages that are nearly right: an honest payload, a few of its parts bent, in an envelope that may be bent, too."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tamper.attacker import b64, header, signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from fuzz.street import Payload, Voice

TYPES = ("claim", "rotate", "cosign", "prove", "abandon", "status", "offer", "refused", "Claim", "")
NUMBERS = [0, 1, 2, 3, -1, 255, 256, 65535, 65536, 65537, 2**31, 2**32 + 1, 2**53 - 1, 2**53, 2**63, 2**64, 10**40]
OTHERS = [None, True, False, 1.0, 0.5, 1e300, "", "1", "sign", "proof", [], {}, [[]], {"v": 1}, "é", "\x00", "\ud7ff"]
X25519_LOW = ["00" * 32, "01" + "00" * 31, "ec" + "ff" * 30 + "7f", "ed" + "ff" * 30 + "7f", "ee" + "ff" * 30 + "7f"]
ELEMENTS = ["01" + "00" * 31, "02" + "ff" * 32, "05" + "00" * 32, "00" * 33, "00" * 57, "01" + "00" * 56, "ff" * 57]
TEXTS = [b64(b""), b64(b"text"), b64(b"\0\0\0\x12icehouse/v1/proof"), "ab" * 16, "09" + "00" * 31, "00" * 64, "ab" * 32]
_MANY = (2, 3, 8, 254, 255, 256, 600)
_LONG = (1 << 10, 1 << 16, 1 << 20, (1 << 20) + 1, 3 << 19)


@dataclass(frozen=True, slots=True)
class Message:
    """A message, who says it, and whether its MAC is that voice's over exactly what is sent."""

    text: str
    voice: Voice
    authentic: bool


class Writer:
    """Writes messages, one after the other, from a generator's numbers."""

    def __init__(self, random: Random, voices: list[Voice]) -> None:
        self.random = random
        self.voices = voices
        self._bends: tuple[Callable[[Payload], None], ...] = (
            self._change,
            self._change,
            self._digit,
            self._digit,
            self._forget,
            self._add,
            self._retype,
            self._lend,
            self._relist,
            self._recommit,
            self._lengthen,
        )

    def write(self) -> Message:
        """The next message."""
        voice = self.random.choice(self.voices)
        payload = self._payload(voice)
        for _ in range(self.random.choice((0, 0, 1, 1, 1, 3))):
            self.random.choice(self._bends)(payload)
        raw = self._spelled(payload)
        return self._enveloped(voice, raw)

    def _payload(self, voice: Voice) -> Payload:
        """One of the voice's own, or of another voice under this one's key and epoch."""
        own = voice if self.random.random() < 0.8 else self.random.choice(self.voices)
        found = copy.deepcopy(own.payloads[self.random.choice(list(own.payloads))])
        if self.random.random() < 0.95:
            found |= {"key": voice.key_id.hex(), "epoch": voice.epoch}
        return found

    # Bends

    def _value(self) -> Any:
        pool = self.random.choice((NUMBERS, OTHERS, X25519_LOW, ELEMENTS, TEXTS, TEXTS))
        return copy.deepcopy(self.random.choice(pool))

    def _change(self, payload: Payload) -> None:
        payload[self._field(payload)] = self._value()

    def _field(self, payload: Payload) -> str:
        """More often one that only some types have."""
        return self.random.choice([*payload, *list(payload)[-2:], "type"])

    def _digit(self, payload: Payload) -> None:
        """Another digit in a text, or in the text of a commitment."""
        holder: Any = payload
        listed = payload.get("commitments")
        if isinstance(listed, list) and listed and isinstance(listed[0], dict) and self.random.random() < 0.5:
            holder = listed[0]
        name = self.random.choice([*holder, "v"])
        text = holder.get(name)
        if isinstance(text, str) and text:
            at = self.random.randrange(len(text))
            holder[name] = text[:at] + self.random.choice("0123456789abcdefABCZ-_=. ") + text[at + 1 :]

    def _forget(self, payload: Payload) -> None:
        payload.pop(self._field(payload), None)

    def _add(self, payload: Payload) -> None:
        payload[self.random.choice(("more", "due", "V", "offer_id", "taproot_root", "commitments"))] = self._value()

    def _retype(self, payload: Payload) -> None:
        payload["type"] = self.random.choice(TYPES)

    def _lend(self, payload: Payload) -> None:
        """A field of somebody else's payload."""
        other = self.random.choice(list(self.random.choice(self.voices).payloads.values()))
        name = self.random.choice(list(other))
        payload[name] = copy.deepcopy(other[name])

    def _relist(self, payload: Payload) -> None:
        """Commitments in another number or order."""
        listed = payload.get("commitments")
        if isinstance(listed, list) and listed:
            count = self.random.choice(_MANY)
            numbered = self.random.random() < 0.5 and isinstance(listed[0], dict)
            numbers = range(self.random.choice((0, 1)), count)
            payload["commitments"] = [{**listed[0], "participant": n} if numbered else listed[0] for n in numbers]

    def _recommit(self, payload: Payload) -> None:
        """A part of a commitment that is another value."""
        listed = payload.get("commitments")
        if isinstance(listed, list) and listed and isinstance(listed[0], dict):
            listed[0][self.random.choice(("participant", "hiding", "binding", "more"))] = self._value()

    def _lengthen(self, payload: Payload) -> None:
        """Once in a while, a text of up to a mebibyte and a half."""
        if self.random.random() < 0.02:
            name = self.random.choice(("message", "signature", "offer_id", "device_key", "key", "taproot_root"))
            payload[name] = "ab" * (self.random.choice(_LONG) // 2)

    # Spelling

    def _spelled(self, payload: Payload) -> bytes:  # noqa: PLR0911  one for each spelling
        whole = json.dumps(payload)
        raw = whole.encode()
        match self.random.randrange(60):
            case 0:
                return json.dumps(payload, indent=1).encode()
            case 1:
                return json.dumps([*payload.values()]).encode()
            case 2 if payload:
                name = self.random.choice(list(payload))
                return f"{whole[:-1]}, {json.dumps(name)}: {json.dumps(payload[name])}}}".encode()
            case 3:
                return whole[: self.random.randrange(len(whole))].encode()
            case 4:
                return (whole + self.random.choice(("x", "{}", "\0", " ", whole))).encode()
            case 5:
                return self.random.choice(
                    (b"[" * 3000, b'{"a":' * 3000, b"\xff", b"\xef\xbb\xbf" + whole.encode(), b"")
                )
            case 6:
                return self._bit(raw)
            case 7:
                return json.dumps(dict(reversed(payload.items())), ensure_ascii=False).encode("utf-8", "surrogatepass")
            case _:
                return raw

    def _bit(self, raw: bytes) -> bytes:
        bent = bytearray(raw)
        if bent:
            bent[self.random.randrange(len(bent))] ^= 1 << self.random.randrange(8)
        return bytes(bent)

    # The envelope

    def _enveloped(self, voice: Voice, raw: bytes) -> Message:  # noqa: PLR0911  one for each envelope
        good = header(voice.key_id, voice.epoch)
        match self.random.randrange(40):
            case 0:
                return Message(signed(bytes(32), good, raw), voice, authentic=False)
            case 1:
                other = self.random.choice(self.voices)
                own = other.mac_key == voice.mac_key
                return Message(signed(other.mac_key, good, raw), voice, authentic=own)
            case 2:
                epoch = self.random.choice((0, 1, 2, 3, 4, 99, 2**53 - 1, 2**53, 2**64, "01", "+1", "", "1.0"))
                return Message(signed(voice.mac_key, header(voice.key_id, epoch), raw), voice, epoch == voice.epoch)
            case 3:
                head = self._bit(good)
                return Message(signed(voice.mac_key, head, raw), voice, authentic=False)
            case 4:
                strange = self.random.choice((bytes(16), voice.key_id[:15] + b"\0", voice.key_id + b"\0"))
                own = strange == voice.key_id
                return Message(signed(voice.mac_key, header(strange, voice.epoch), raw), voice, authentic=own)
            case 5:
                return Message(self._torn(signed(voice.mac_key, good, raw)), voice, authentic=False)
            case _:
                return Message(signed(voice.mac_key, good, raw), voice, authentic=True)

    def _torn(self, text: str) -> str:
        """Never the same text."""
        at = self.random.randrange(len(text))
        bent = (
            text[:at],
            text + self.random.choice((".", "=", "A", " ", "\n", "é", "\ud800", "." + text)),
            text[:at] + self.random.choice("!=~ é") + text[at:],
            f"{b64(b'{}')}.{text}",
            text.upper(),
            "",
            '{"v":1,"type":"refused","reason":"bad-mac"}',
        )
        return self.random.choice(bent)

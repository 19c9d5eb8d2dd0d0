// Building blocks of docs/reference/formats.md: contexts, ids, hex, canonical groups.

import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from "@noble/hashes/utils.js";

export class Refusal extends Error {}

export function refuseUnless(condition, why) {
  if (!condition) throw new Refusal(why);
}

const lp = (bytes) => {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.length);
  return concatBytes(length, bytes);
};

function field(value) {
  if (typeof value === "string") return utf8ToBytes(value);
  if (typeof value !== "number") return value;
  const eight = new Uint8Array(8);
  new DataView(eight.buffer).setBigUint64(0, BigInt(value));
  return eight;
}

export const ctx = (kind, ...fields) => concatBytes(lp(utf8ToBytes(`icehouse/v1/${kind}`)), ...fields.map((f) => lp(field(f))));

// Lower-case hex of exactly `size` bytes.
export function unhex(text, size) {
  refuseUnless(typeof text === "string" && /^([0-9a-f]{2})*$/.test(text), "not lower-case hex");
  refuseUnless(size === undefined || text.length === 2 * size, `not ${size} bytes of hex`);
  return hexToBytes(text);
}

export const hex = bytesToHex;

// An object with exactly these fields; JSON.parse already made it.
export function exactly(object, names) {
  refuseUnless(object !== null && typeof object === "object" && !Array.isArray(object), "not a JSON object");
  const found = Object.keys(object).sort().join();
  refuseUnless(found === [...names].sort().join(), `not the fields of this object: ${found}`);
  return object;
}

export function whole(value) {
  refuseUnless(Number.isSafeInteger(value) && value >= 0, "not an integer below 2^53");
  return value;
}

export const keyId = (vault, user, suite, generation) => sha256(ctx("key", vault, user, suite, generation)).slice(0, 16);

// `G`: the canonical bytes of a group that was checked.
export const canonical = (group) =>
  ctx(
    "group",
    unhex(group.vault),
    unhex(group.key),
    group.user,
    group.suite,
    group.generation,
    group.threshold,
    group.participants.length,
    ...group.participants,
    group.epoch,
    unhex(group.public_key),
    ...group.commitments.map((c) => unhex(c)),
  );

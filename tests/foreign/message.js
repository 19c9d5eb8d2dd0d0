// JWS in compact form, written and read as the formats fix it.

import { createHmac, timingSafeEqual } from "node:crypto";
import { exactly, refuseUnless } from "./formats.js";

const b64 = (bytes) => Buffer.from(bytes).toString("base64url");

// Buffer reads padding, spare bits and other alphabets; writing it again tells.
function unb64(text) {
  const bytes = Buffer.from(text, "base64url");
  refuseUnless(b64(bytes) === text, "not base64url without padding");
  return bytes;
}

const header = (kid) => `{"alg":"HS256","kid":"${kid}","typ":"icehouse"}`;
const mac = (key, signed) => createHmac("sha256", key).update(signed).digest();

export function write(kid, key, payload) {
  const signed = `${b64(header(kid))}.${b64(JSON.stringify(payload))}`;
  return `${signed}.${b64(mac(key, signed))}`;
}

export class RefusedByCosigner extends Error {
  constructor(reason, authenticated) {
    super(`the cosigner refused: ${reason}`);
    this.reason = reason;
    this.authenticated = authenticated;
  }
}

// The payload of an answer to a message under this `kid`; anything else proves nothing.
export function read(answer, kid, key) {
  if (answer.startsWith("{")) {
    const bare = exactly(JSON.parse(answer), ["v", "type", "reason"]);
    refuseUnless(bare.v === 1 && bare.type === "refused", "not a bare refusal");
    throw new RefusedByCosigner(bare.reason, false);
  }
  const parts = answer.split(".");
  refuseUnless(parts.length === 3, "an answer has three parts");
  refuseUnless(unb64(parts[0]).toString() === header(kid), "the answer is for another key or epoch");
  const expected = mac(key, `${parts[0]}.${parts[1]}`);
  const found = unb64(parts[2]);
  refuseUnless(found.length === 32 && timingSafeEqual(expected, found), "the answer is not authenticated");
  const payload = JSON.parse(unb64(parts[1]).toString());
  if (payload.type !== "refused") return payload;
  exactly(payload, ["v", "type", "key", "epoch", "reason"]);
  refuseUnless(`${payload.key}.${payload.epoch}` === kid, "a refusal for another key or epoch");
  throw new RefusedByCosigner(payload.reason, true);
}

// An answer of this type, with exactly these fields beside the ones that every answer has.
export function expect(payload, kid, type, names) {
  exactly(payload, ["v", "type", "key", "epoch", ...names]);
  refuseUnless(payload.v === 1 && payload.type === type, `the answer is no ${type}`);
  refuseUnless(`${payload.key}.${payload.epoch}` === kid, "the answer is for another key or epoch");
  return payload;
}

export const b64url = b64;

// What noble's FROST takes without a word. docs/reference/messages.md warns device writers of each; here it is run.

import { ed25519_FROST } from "@noble/curves/ed25519.js";
import { secp256k1, secp256k1_FROST } from "@noble/curves/secp256k1.js";

const MESSAGE = new TextEncoder().encode("trap");

function deal(frost, max = 3) {
  const { public: pub, secretShares } = frost.trustedDealer({ min: 2, max });
  return { pub, secrets: Object.values(secretShares) };
}

function sign(frost, pub, secrets, list, rounds) {
  const shares = secrets.map((secret, i) => [secret.identifier, frost.signShare(secret, pub, rounds[i].nonces, list, MESSAGE)]);
  return Object.fromEntries(shares);
}

function verified(frost, pub, list, shares) {
  return frost.verify(frost.aggregate(pub, list, MESSAGE, shares), MESSAGE, pub.commitments[0]);
}

function attempt(trap) {
  try {
    return trap();
  } catch (error) {
    return String(error.message);
  }
}

// The other signer's commitments, as uncompressed points of 65 bytes.
function uncompressed() {
  const frost = secp256k1_FROST;
  const { pub, secrets } = deal(frost);
  const signers = secrets.slice(0, 2);
  const rounds = signers.map((secret) => frost.commit(secret));
  const long = (bytes) => secp256k1.Point.fromBytes(bytes).toBytes(false);
  const theirs = rounds[1].commitments;
  const list = [rounds[0].commitments, { ...theirs, hiding: long(theirs.hiding), binding: long(theirs.binding) }];
  return typeof frost.signShare(signers[0], pub, rounds[0].nonces, list, MESSAGE) === "object";
}

// A third pair of commitments that nobody asked for, within the group's size.
function extra() {
  const frost = ed25519_FROST;
  const { pub, secrets } = deal(frost);
  const list = secrets.map((secret) => frost.commit(secret)).map((round) => round.commitments);
  const round = frost.commit(secrets[0]);
  list[0] = round.commitments;
  return frost.signShare(secrets[0], pub, round.nonces, list, MESSAGE).length === 32;
}

// Commitments under a number that no participant has.
function stranger() {
  const frost = ed25519_FROST;
  const { pub, secrets } = deal(frost);
  const rounds = secrets.slice(0, 2).map((secret) => frost.commit(secret));
  const identifier = frost.Identifier.fromNumber(77);
  const list = [rounds[0].commitments, { ...rounds[1].commitments, identifier }];
  return frost.signShare(secrets[0], pub, rounds[0].nonces, list, MESSAGE).length === 32;
}

// Verifying shares that are no points at all: aggregate wants them and does not look at them.
function nonsense() {
  const frost = ed25519_FROST;
  const { pub, secrets } = deal(frost);
  const signers = secrets.slice(0, 2);
  const rounds = signers.map((secret) => frost.commit(secret));
  const list = rounds.map((round) => round.commitments);
  const shares = sign(frost, pub, signers, list, rounds);
  const verifyingShares = Object.fromEntries(signers.map(({ identifier }) => [identifier, new Uint8Array(3)]));
  return verified(frost, { ...pub, verifyingShares }, list, shares);
}

// The same, left out.
function missing() {
  const frost = ed25519_FROST;
  const { pub, secrets } = deal(frost);
  const signers = secrets.slice(0, 2);
  const rounds = signers.map((secret) => frost.commit(secret));
  const list = rounds.map((round) => round.commitments);
  const shares = sign(frost, pub, signers, list, rounds);
  return attempt(() => verified(frost, { ...pub, verifyingShares: {} }, list, shares));
}

// Wrong verifying shares, and a cheater: who is named?
function blame() {
  const frost = ed25519_FROST;
  const { pub, secrets } = deal(frost);
  const signers = secrets.slice(0, 2);
  const rounds = signers.map((secret) => frost.commit(secret));
  const list = rounds.map((round) => round.commitments);
  const shares = sign(frost, pub, signers, list, rounds);
  shares[signers[1].identifier] = new Uint8Array(32).fill(1, 0, 1);
  const swapped = { [signers[0].identifier]: pub.verifyingShares[signers[1].identifier], [signers[1].identifier]: pub.verifyingShares[signers[0].identifier] };
  const named = (verifyingShares) => {
    try {
      frost.aggregate({ ...pub, verifyingShares }, list, MESSAGE, shares);
    } catch (error) {
      return error.cheaters.length;
    }
    return -1;
  };
  return { honest: named(pub.verifyingShares), swapped: named(swapped) };
}

// The nonces, used a second time.
function reuse() {
  const frost = ed25519_FROST;
  const { pub, secrets } = deal(frost);
  const rounds = secrets.slice(0, 2).map((secret) => frost.commit(secret));
  const list = rounds.map((round) => round.commitments);
  const copy = { hiding: rounds[0].nonces.hiding.slice(), binding: rounds[0].nonces.binding.slice() };
  frost.signShare(secrets[0], pub, rounds[0].nonces, list, MESSAGE);
  const again = attempt(() => frost.signShare(secrets[0], pub, rounds[0].nonces, list, MESSAGE));
  const fromCopy = frost.signShare(secrets[0], pub, copy, list, new Uint8Array(1)).length === 32;
  return { again, fromCopy };
}

// JSON.parse keeps the last of two equal names and reads fractions as whole numbers.
const json = JSON.parse('{"epoch":1,"epoch":2.0}').epoch;
// Buffer reads padding, spare bits and the other alphabet.
const base64 = ["YQ==", "YR", "+/8"].map((text) => Buffer.from(text, "base64url").length);

console.log(
  JSON.stringify({
    uncompressed: attempt(uncompressed),
    extra: attempt(extra),
    stranger: attempt(stranger),
    nonsense: attempt(nonsense),
    missing: missing(),
    blame: blame(),
    reuse: reuse(),
    json,
    base64,
  }),
);

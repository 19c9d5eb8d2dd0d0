// Offers: opened with HPKE in PSK mode, and accepted only if everything fits.

import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { x25519 } from "@noble/curves/ed25519.js";
import { utf8ToBytes } from "@noble/hashes/utils.js";
import { canonical, ctx, exactly, hex, keyId, refuseUnless, unhex, whole } from "./formats.js";
import { Suite } from "./suites.js";

const GROUP = ["v", "vault", "key", "user", "suite", "generation", "threshold", "participants", "epoch", "public_key", "commitments"];
const OFFER = ["v", "type", "group", "kind", "offer_id", "enc", "sealed", "expires"];
const MAX_ESCROW = 1024;

const hpke = new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });

export function newRequest() {
  const secret = x25519.utils.randomSecretKey();
  return hex(secret);
}

export const deviceKey = (secret) => hex(x25519.getPublicKey(unhex(secret, 32)));

function checkGroup(group) {
  exactly(group, GROUP);
  refuseUnless(group.v === 1, "not a group of version 1");
  [group.generation, group.threshold, group.epoch].forEach(whole);
  const suite = new Suite(group.suite);
  const n = group.participants.length;
  refuseUnless(new Set(group.participants).size === n && n <= 255, "participants are named once");
  refuseUnless(group.threshold >= 2 && group.threshold <= n, "no possible threshold");
  refuseUnless(group.commitments.length === group.threshold, "another number of commitments than the threshold");
  const id = keyId(unhex(group.vault, 16), group.user, group.suite, group.generation);
  refuseUnless(hex(id) === group.key, "the key id is not that of vault, user, suite, generation");
  refuseUnless(suite.publicKey(group.commitments[0]) === group.public_key, "the public key is not the first commitment");
  for (let i = 1; i <= n; i++) suite.verifyingShare(group.commitments, i);
  return suite;
}

function checkAgainst(state, kid, offer) {
  const { group, kind } = offer;
  const [key, epoch] = kid.split(".");
  refuseUnless(group.user === state.user && group.key === key, "the offer is for another user or key");
  refuseUnless(group.epoch > Number(epoch), "the offer's epoch is not above the device's own");
  if (state.current === null) {
    refuseUnless(kind === "share", "a first offer carries a whole share");
    return;
  }
  const old = state.current.group;
  refuseUnless(kind === "difference", "a rotation carries a difference");
  for (const name of GROUP.filter((name) => !["epoch", "commitments"].includes(name)))
    refuseUnless(JSON.stringify(old[name]) === JSON.stringify(group[name]), `the offer changes ${name}`);
  refuseUnless(old.commitments[0] === group.commitments[0], "the offer would change the key");
  refuseUnless(!old.commitments.slice(1).some((c, k) => c === group.commitments[k + 1]), "a commitment is not renewed");
}

async function open(offer, secret, participant, psk, kid) {
  const aad = ctx("offer", canonical(offer.group), offer.kind, participant, unhex(deviceKey(secret)), unhex(offer.offer_id, 16));
  const recipient = await hpke.createRecipientContext({
    recipientKey: await hpke.kem.importKey("raw", unhex(secret, 32).buffer, false),
    enc: unhex(offer.enc, 32).buffer,
    info: ctx("offer").buffer,
    psk: { id: utf8ToBytes(kid).buffer, key: psk.slice().buffer },
  });
  return new Uint8Array(await recipient.open(unhex(offer.sealed).buffer, aad.buffer));
}

// What the device will hold at the offered epoch, once every check of the formats passed.
export async function accept(state, kid, psk, offer) {
  exactly(offer, OFFER);
  refuseUnless(offer.v === 1 && offer.type === "offer", "not an offer");
  refuseUnless(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(offer.expires), "expires is no UTC time");
  const suite = checkGroup(offer.group);
  checkAgainst(state, kid, offer);
  const participant = offer.group.participants.indexOf(state.user) + 1;
  const plain = await open(offer, state.request, participant, psk, kid);
  const escrow = plain.length - suite.scalarLength - 32;
  refuseUnless(escrow >= 0 && escrow <= MAX_ESCROW, "another number of bytes than an offer has");
  let share = suite.scalar(plain.slice(0, suite.scalarLength));
  if (state.current !== null) share = suite.Fn.add(share, suite.scalar(unhex(state.current.share)));
  const own = hex(suite.Point.BASE.multiply(share).toBytes());
  refuseUnless(own === suite.verifyingShare(offer.group.commitments, participant), "the share does not fit the commitments");
  return {
    group: offer.group,
    share: hex(suite.scalarBytes(share)),
    channel_key: hex(plain.slice(suite.scalarLength, suite.scalarLength + 32)),
    offer_id: offer.offer_id,
    escrow: hex(plain.slice(suite.scalarLength + 32)),
  };
}

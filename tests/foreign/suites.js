// noble's FROST for each suite, made as strict as the formats ask.

import { ed25519, ed25519_FROST, ristretto255, ristretto255_FROST } from "@noble/curves/ed25519.js";
import { ed448, ed448_FROST } from "@noble/curves/ed448.js";
import { p256, p256_FROST } from "@noble/curves/nist.js";
import { schnorr, schnorr_FROST, secp256k1, secp256k1_FROST } from "@noble/curves/secp256k1.js";
import { hex, refuseUnless, unhex } from "./formats.js";

const row = (frost, Point, elementLength, verify) => ({ frost, Point, elementLength, verify });
const byFrost = (frost) => (signature, message, key) => frost.verify(signature, message, key);

const SUITES = {
  "FROST-ED25519-SHA512-v1": row(ed25519_FROST, ed25519.Point, 32, (s, m, k) => ed25519.verify(s, m, k, { zip215: false })),
  "FROST-secp256k1-SHA256-TR-v1": row(schnorr_FROST, secp256k1.Point, 33, (s, m, k) => schnorr.verify(s, m, k)),
  "FROST-secp256k1-SHA256-v1": row(secp256k1_FROST, secp256k1.Point, 33, byFrost(secp256k1_FROST)),
  "FROST-P256-SHA256-v1": row(p256_FROST, p256.Point, 33, byFrost(p256_FROST)),
  "FROST-RISTRETTO255-SHA512-v1": row(ristretto255_FROST, ristretto255.Point, 32, byFrost(ristretto255_FROST)),
  "FROST-ED448-SHAKE256-v1": row(ed448_FROST, ed448.Point, 57, byFrost(ed448_FROST)),
};

export class Suite {
  constructor(name) {
    refuseUnless(Object.hasOwn(SUITES, name), `unknown suite ${name}`);
    Object.assign(this, SUITES[name]);
    this.name = name;
    this.Fn = this.frost.utils.Fn;
    this.scalarLength = this.Fn.BYTES;
  }

  // noble reads uncompressed points, small orders and the identity; none of them is an element here.
  point(text) {
    const bytes = unhex(text, this.elementLength);
    const point = this.Point.fromBytes(bytes);
    point.assertValidity();
    refuseUnless(!point.is0() && point.isTorsionFree() && hex(point.toBytes()) === text, "not an element");
    return point;
  }

  scalar(bytes) {
    refuseUnless(bytes.length === this.scalarLength, "not a scalar");
    return this.Fn.fromBytes(bytes);
  }

  scalarBytes(scalar) {
    return this.Fn.toBytes(scalar);
  }

  // Σ i^k · commitments[k], by Horner's rule.
  verifyingShare(commitments, number) {
    const sum = commitments.map((c) => this.point(c)).reduceRight((total, c) => total.multiplyUnsafe(BigInt(number)).add(c));
    refuseUnless(!sum.is0(), "a verifying share is the identity");
    return hex(sum.toBytes());
  }

  get signatureLength() {
    return this.name === "FROST-secp256k1-SHA256-TR-v1" ? 64 : this.elementLength + this.scalarLength;
  }

  publicKey(commitment) {
    return this.name === "FROST-secp256k1-SHA256-TR-v1" ? commitment.slice(2) : commitment;
  }
}

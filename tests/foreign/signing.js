// A signature with the cosigner: one message, one answer, and a signature only if it verifies.

import { b64url, expect } from "./message.js";
import { hex, refuseUnless, unhex } from "./formats.js";
import { Suite } from "./suites.js";

// noble's names for our facts. Its verifying shares are only looked at when something is wrong: make them ourselves.
function packages(held, number, suite) {
  const id = suite.frost.Identifier.fromNumber(number);
  const { group } = held;
  const numbers = group.participants.map((_, index) => index + 1);
  const shares = numbers.map((i) => [suite.frost.Identifier.fromNumber(i), unhex(suite.verifyingShare(group.commitments, i))]);
  return {
    secret: { identifier: id, signingShare: unhex(held.share, suite.scalarLength) },
    public: {
      signers: { min: group.threshold, max: group.participants.length },
      commitments: group.commitments.map((c) => unhex(c)),
      verifyingShares: Object.fromEntries(shares),
    },
  };
}

export class Signing {
  constructor(held, user, message, purpose) {
    this.suite = new Suite(held.group.suite);
    this.number = held.group.participants.indexOf(user) + 1;
    this.cosigner = held.group.participants.indexOf("server") + 1;
    this.key = unhex(held.group.public_key);
    this.message = message;
    this.purpose = purpose;
    this.packages = packages(held, this.number, this.suite);
    this.round = this.suite.frost.commit(this.packages.secret);
  }

  get question() {
    const { hiding, binding } = this.round.commitments;
    return {
      type: "cosign",
      purpose: this.purpose,
      message: b64url(this.message),
      taproot_root: null,
      commitments: [{ participant: this.number, hiding: hex(hiding), binding: hex(binding) }],
    };
  }

  finish(payload, kid) {
    const answer = expect(payload, kid, "cosigned", ["participant", "hiding", "binding", "share"]);
    refuseUnless(answer.participant === this.cosigner, "the cosigner answers as someone else");
    // Our own check, since noble would take uncompressed commitments and carry on.
    [answer.hiding, answer.binding].forEach((element) => this.suite.point(element));
    const frost = this.suite.frost;
    const theirId = frost.Identifier.fromNumber(answer.participant);
    const theirs = { identifier: theirId, hiding: unhex(answer.hiding), binding: unhex(answer.binding) };
    const list = [this.round.commitments, theirs];
    const { secret, public: pub } = this.packages;
    const shares = {
      [secret.identifier]: frost.signShare(secret, pub, this.round.nonces, list, this.message),
      [theirId]: unhex(answer.share, this.suite.scalarLength),
    };
    const signature = frost.aggregate(pub, list, this.message, shares);
    refuseUnless(this.suite.verify(signature, this.message, this.key), "the signature does not verify");
    return signature;
  }
}

// The peer from npm: `@noble/curves`, its FROST on ed25519, in memory, on one thread.
// Prints the microseconds of every call, as a JSON object.
import { ed25519_FROST as frost } from "../tests/foreign/node_modules/@noble/curves/ed25519.js";

const CALLS = 200;
const MESSAGE = new Uint8Array(32).fill(7);

function sample(act) {
  for (let call = 0; call < CALLS / 10; call++) act();
  const samples = [];
  for (let call = 0; call < CALLS; call++) {
    const start = process.hrtime.bigint();
    act();
    samples.push(Number(process.hrtime.bigint() - start) / 1000);
  }
  return samples;
}

const deal = () => frost.trustedDealer({ min: 2, max: 2 });
const dealt = deal();
const [device, server] = Object.keys(dealt.secretShares).map((id) => dealt.secretShares[id]);
const ofDevice = frost.commit(device);

function commitAndSign() {
  const own = frost.commit(server);
  frost.signShare(server, dealt.public, own.nonces, [ofDevice.commitments, own.commitments], MESSAGE);
}

console.log(JSON.stringify({ dealer: sample(deal), commit_and_sign: sample(commitAndSign) }));

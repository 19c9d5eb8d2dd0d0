// node main.js STATE STEP… -- COMMAND…: steps of a device whose cosigner is the command, one after the other.
// STEP: create USER | enrol TOKEN | resume | rotate | sign HEX; STOP_AFTER names a durable step to end after.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Device, Stop } from "./device.js";
import { unhex } from "./formats.js";

const split = process.argv.indexOf("--");
const [path, ...words] = process.argv.slice(2, split);
const [command, ...rest] = process.argv.slice(split + 1);

let cosigner;
let answers;

// The cosigner starts with the first message.
async function exchange(message) {
  cosigner ??= spawn(command, rest, { stdio: ["pipe", "pipe", "inherit"] });
  answers ??= createInterface({ input: cosigner.stdout })[Symbol.asyncIterator]();
  cosigner.stdin.write(`${message}\n`);
  const { value, done } = await answers.next();
  if (done) throw new Error("the cosigner ended without an answer");
  return value;
}

const device = new Device(path, exchange, process.env.STOP_AFTER);
const steps = {
  create: () => device.create(words.shift()),
  enrol: () => device.enrol(words.shift()),
  resume: () => device.enrol(),
  rotate: () => device.rotate(),
  sign: async () => signatures.push(Buffer.from(await device.sign(unhex(words.shift()))).toString("hex")),
};

const signatures = [];
let stopped = null;
try {
  while (words.length > 0) await steps[words.shift()]();
} catch (error) {
  if (!(error instanceof Stop)) throw error;
  stopped = error.message;
} finally {
  cosigner?.stdin.end();
}
const { current, pending } = device.state;
const [epoch, public_key] = [current?.group.epoch ?? 0, current?.group.public_key ?? null];
console.log(JSON.stringify({ stopped, signatures, epoch, public_key, pending: pending !== null }));

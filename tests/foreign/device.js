// A device, after docs/reference/formats.md and messages.md. Its state is one JSON file, durable before anything is sent.

import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { canonical, ctx, refuseUnless, unhex } from "./formats.js";
import { expect, read, RefusedByCosigner, write } from "./message.js";
import { accept, deviceKey, newRequest } from "./offer.js";
import { Signing } from "./signing.js";
import { Suite } from "./suites.js";

// What a refusal must say before a device asks whether its pending offer is gone.
const GONE = ["unknown-epoch", "bad-mac", "not-the-offer", "bad-proof", "not-the-proof", "wrong-epoch"];

export class Device {
  // `exchange` sends one message and gives its answer; `stopAfter` names a step after which the process ends.
  constructor(path, exchange, stopAfter) {
    this.path = path;
    this.exchange = exchange;
    this.stopAfter = stopAfter;
    this.state = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : null;
  }

  create(user) {
    refuseUnless(this.state === null, "there is a device already");
    this.state = { v: 1, user, token: null, request: null, current: null, pending: null };
    this.save("created");
  }

  save(step) {
    const file = openSync(`${this.path}.new`, "w", 0o600);
    writeSync(file, JSON.stringify(this.state));
    fsyncSync(file);
    closeSync(file);
    renameSync(`${this.path}.new`, this.path);
    if (step === this.stopAfter) throw new Stop(step);
  }

  // The `kid` and the MAC key of the current epoch, or of the code before the first commit.
  get current() {
    const { current, token } = this.state;
    if (current !== null) return this.speakAs(current);
    refuseUnless(token !== null, "not enrolled, and no enrolment token");
    const [key, code] = token.split(".");
    return { kid: `${key}.0`, key: unhex(code, 32) };
  }

  speakAs(held) {
    return { kid: `${held.group.key}.${held.group.epoch}`, key: unhex(held.channel_key, 32) };
  }

  async ask({ kid, key }, payload) {
    const [id, epoch] = kid.split(".");
    const message = write(kid, key, { v: 1, key: id, epoch: Number(epoch), ...payload });
    return read(await this.exchange(message), kid, key);
  }

  async enrol(token) {
    if (token !== undefined) this.state.token = token;
    this.save("token");
    await this.resolve();
    if (this.state.current === null) await this.obtain("claim");
  }

  async rotate() {
    await this.resolve();
    await this.obtain("rotate");
  }

  async sign(message) {
    await this.resolve();
    refuseUnless(this.state.current !== null, "not enrolled");
    return this.signWith(this.current, this.state.current, message, "sign");
  }

  async signWith(speaker, held, message, purpose) {
    const signing = new Signing(held, this.state.user, message, purpose);
    return signing.finish(await this.ask(speaker, signing.question), speaker.kid);
  }

  async obtain(type) {
    this.state.request ??= newRequest();
    this.save("request");
    const speaker = this.current;
    const question = { type, participant: 1, device_key: deviceKey(this.state.request) };
    const held = await accept(this.state, speaker.kid, speaker.key, await this.ask(speaker, question));
    this.state.pending = { epoch: held, device_key: this.state.request, proof: null };
    this.state.request = null;
    this.save("offer");
    await this.resolve();
  }

  // Brings a pending offer to its end: prove it, or abandon it where the cosigner knows it no longer.
  async resolve() {
    if (this.state.pending === null) return;
    try {
      await this.prove();
    } catch (error) {
      if (!(error instanceof RefusedByCosigner) || !GONE.includes(error.reason)) throw error;
      await this.abandon();
    }
  }

  async prove() {
    const { pending } = this.state;
    const held = pending.epoch;
    const speaker = this.speakAs(held);
    const signature = await this.proof(speaker, pending);
    const question = { type: "prove", offer_id: held.offer_id, signature };
    const answer = expect(await this.ask(speaker, question), speaker.kid, "committed", ["offer_id"]);
    refuseUnless(answer.offer_id === held.offer_id, "'committed' names another offer");
    if (this.stopAfter === "answer") throw new Stop("answer");
    Object.assign(this.state, { current: held, pending: null, token: null });
    this.save("committed");
  }

  async proof(speaker, pending) {
    const held = pending.epoch;
    if (pending.proof !== null) return pending.proof;
    const message = ctx("proof", canonical(held.group), unhex(held.offer_id), unhex(deviceKey(pending.device_key)));
    try {
      pending.proof = Buffer.from(await this.signWith(speaker, held, message, "proof")).toString("hex");
    } catch (error) {
      if (!(error instanceof RefusedByCosigner) || error.reason !== "wrong-epoch" || !error.authenticated) throw error;
      // The offered epoch is current already: another copy of this device proved it, and any signature will do.
      return "0".repeat(2 * new Suite(held.group.suite).signatureLength);
    }
    this.save("proof");
    return pending.proof;
  }

  async abandon() {
    const { offer_id } = this.state.pending.epoch;
    const speaker = this.current;
    const answer = expect(await this.ask(speaker, { type: "abandon", offer_id }), speaker.kid, "abandoned", ["offer_id"]);
    refuseUnless(answer.offer_id === offer_id, "'abandoned' names another offer");
    this.state.pending = null;
    this.save("abandoned");
  }
}

// Thrown after a step that a test wants to be the process's last.
export class Stop extends Error {}

// What needs no connection: frames, codes, ids, intervals, what a timeline shows.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";

import { CODES } from "../src/code.js";
import { Decoder, encodeFrame, FrameError } from "../src/frame.js";
import { channelBytes, channelOf, directChannel, directPeer, isChannel } from "../src/id.js";
import { Interval, isComplete } from "../src/interval.js";
import { readPush } from "../src/push.js";
import { Shown } from "../src/shown.js";
import { MarksSchema } from "../src/wire/kith/client/v1/client_pb.js";
import { ActSchema, RecordSchema, TextSchema, type Record } from "../src/wire/kith/log/v1/log_pb.js";
import { ANN, BOB, seeded } from "./fake.js";

const DEVICE = 7n;

function text(seq: number, words: string, number = 0): Record {
  const body = toBinary(TextSchema, create(TextSchema, { text: words }));
  const device = number > 0 ? DEVICE : 1n;
  return create(RecordSchema, { at: { seq: BigInt(seq), cnt: BigInt(seq) }, sender: BOB, device, clientSeq: BigInt(number), content: { kind: 1, body } });
}
function act(seq: number, sender: bigint, act: Parameters<typeof create<typeof ActSchema>>[1]): Record {
  return create(RecordSchema, { at: { seq: BigInt(seq), cnt: 0n }, sender, content: { kind: 4, body: toBinary(ActSchema, create(ActSchema, act)) } });
}
const fresh = (record: Record) => ({ record, marks: undefined, asOf: record.at?.seq ?? 0n });

test("frames come out as they went in, wherever they are cut", () => {
  const random = seeded(1);
  const bodies = [0, 1, 5, 70_000].map((length) => Uint8Array.from({ length }, (_, at) => at));
  const whole = Buffer.concat(bodies.map((body, at) => encodeFrame(at + 1, body)));
  for (let run = 0; run < 50; run++) {
    const decoder = new Decoder(100_000);
    const out = [];
    for (let at = 0; at < whole.length; ) {
      const size = 1 + Math.floor(random() * (run % 2 === 0 ? 9 : 40_000));
      decoder.push(whole.subarray(at, (at += size)));
      for (let frame = decoder.poll(); frame !== undefined; frame = decoder.poll()) out.push(frame);
    }
    assert.deepEqual(out.map(({ kind, body }) => [kind, body.length]), [[1, 0], [2, 1], [3, 5], [4, 70_000]]);
    assert.deepEqual(Buffer.from(out[3].body), Buffer.from(bodies[3]));
  }
});

test("a length over the bound is refused from its header", () => {
  const decoder = new Decoder(10);
  decoder.push(Uint8Array.of(0, 0, 0, 11, 0, 1));
  assert.throws(() => decoder.poll(), FrameError);
});

test("codes are those of the server", () => {
  const source = readFileSync(new URL("../../../../../wire/src/code.rs", import.meta.url), "utf8");
  const retry = { Never: "never", Now: "now", After: "after", AfterAuth: "after_auth" } as const;
  const theirs = [...source.matchAll(/^ {4}(\w+) = (\d+), (\w+), "/gm)].map(([, name, number, class_]) => [name, [Number(number), retry[class_ as keyof typeof retry]]]);
  assert.ok(theirs.length > 50);
  assert.deepEqual(Object.fromEntries(theirs), CODES);
});

test("a direct conversation has one id, and both its users", () => {
  const id = directChannel(BOB, ANN);
  assert.equal(id, directChannel(ANN, BOB));
  assert.equal(id, "01" + "0100000000000001" + "0100000000000002");
  assert.equal(directPeer(id, ANN), BOB);
  assert.equal(directPeer(directChannel(ANN, ANN), ANN), ANN);
  assert.equal(channelOf(channelBytes(id)), id);
  assert.ok(isChannel(id) && !isChannel(id.slice(1)) && !isChannel("03" + id.slice(2)));
});

test("live records follow the rule of the seq before", () => {
  const interval = new Interval({ from: 1n, max: 5n, head: 5n });
  const seqs = (got: ReturnType<Interval["handleLive"]>) => (typeof got === "string" ? got : got.map(({ at }) => Number(at?.seq)));
  assert.equal(interval.handleLive(4n, text(5, "")), "old");
  assert.deepEqual(seqs(interval.handleLive(5n, text(6, ""))), [6]);
  assert.equal(interval.handleLive(8n, text(9, "")), "hole");
  assert.ok(interval.hasHole);
  assert.deepEqual(seqs(interval.handleLive(6n, text(8, ""))), [8, 9], "7 is not this user's; 9 had waited");
  assert.ok(!interval.hasHole);
});

test("a page with a silent hole is not trusted", () => {
  const page = [text(6, ""), text(8, "")];
  assert.ok(!isComplete(page, [], { first: 6n, last: 8n }));
  assert.ok(isComplete(page, [{ first: 7n, last: 7n }], { first: 6n, last: 8n }));
  const interval = new Interval({ from: 1n, max: 5n, head: 9n });
  assert.equal(interval.handlePage(page, [], { first: 6n, last: 8n }), undefined);
  assert.equal(interval.cursor.max, 5n);
  assert.equal(interval.handlePage(page, [{ first: 7n, last: 7n }], { first: 6n, last: 8n })?.length, 2);
  assert.equal(interval.cursor.max, 8n);
});

test("an own text keeps its id when it becomes a record, and stands once", () => {
  const shown = new Shown(ANN, DEVICE);
  shown.put([fresh(text(1, "hello"))]);
  const content = { type: "text" as const, text: "hi", replyTo: undefined, mentions: [], forwardedFrom: undefined };
  shown.setEcho({ number: 1n, content, at: 0, delivery: { state: "sending" } });
  const echo = shown.items().at(-1);
  assert.equal(echo?.seq, undefined);
  shown.put([fresh(text(2, "hi", 1))]);
  // The answer comes after the record.
  shown.setEcho({ number: 1n, content, at: 0, delivery: { state: "sent", seq: 2n } });
  assert.deepEqual(shown.items().map(({ id, seq }) => [id, seq]), [["s1", 1n], [echo?.id, 2n]]);
});

test("acts count once, whether they came with a page's marks or live", () => {
  const react = (seq: number, sender: bigint, emoji: string, on: boolean) => act(seq, sender, { act: { case: "react", value: { target: 1n, emoji, on } } });
  const marks = create(MarksSchema, { seq: 1n, reactions: [{ emoji: "👍", count: 2, mine: false }] });
  const shown = new Shown(ANN, DEVICE);
  // Read when the head was 3: what stands at 2 and 3 is in the marks.
  shown.put([{ record: text(1, "hello"), marks, asOf: 3n }, fresh(react(2, BOB, "👍", true)), fresh(react(3, 9n, "👍", true))]);
  assert.deepEqual(shown.items()[0].reactions, [{ emoji: "👍", count: 2, mine: false }]);
  shown.put([fresh(react(4, ANN, "👍", true)), fresh(react(5, BOB, "👍", false)), fresh(react(6, ANN, "🎉", true))]);
  assert.deepEqual(shown.items()[0].reactions, [{ emoji: "👍", count: 2, mine: true }, { emoji: "🎉", count: 1, mine: true }]);
  shown.put([fresh(act(7, BOB, { act: { case: "edit", value: { target: 1n, text: "hello!" } } }))]);
  const [item, ...others] = shown.items();
  assert.ok(item.isEdited && item.content.type === "text" && item.content.text === "hello!");
  assert.equal(others.length, 0, "acts stand where they act");
  shown.put([fresh(act(8, BOB, { act: { case: "delete", value: { target: 1n } } }))]);
  assert.equal(shown.items()[0].content.type, "gone");
  assert.deepEqual(shown.items()[0].reactions, []);
});

test("items that did not change are the same objects", () => {
  const shown = new Shown(ANN, DEVICE);
  shown.put([1, 2, 3].map((seq) => fresh(text(seq, `${seq}`))));
  const before = shown.items();
  shown.put([fresh(act(4, BOB, { act: { case: "react", value: { target: 2n, emoji: "👍", on: true } } }))]);
  const after = shown.items();
  assert.deepEqual(after.map((item, at) => item === before[at]), [true, false, true]);
});

test("pushes say what the cluster wrote, and what is none is none", () => {
  // Of the compiled file: dist/test in web/sdk.
  const golden = readFileSync(new URL("../../../../../wire/tests/golden/push.txt", import.meta.url), "utf8");
  const written = new Map(golden.trim().split("\n").map((line) => line.split(": ") as [string, string]));
  const read = (hex: string): unknown => readPush(JSON.stringify({ kith: Buffer.from(hex, "hex").toString("base64url") }));
  const [channel, seq] = [directChannel(7n, 9n), 300n];
  assert.deepEqual(read(written.get("grown") ?? ""), { user: 7n, badge: 12, type: "grown", channel, seq, isMention: false });
  assert.deepEqual(read(written.get("mention") ?? ""), { user: 7n, badge: 12, type: "grown", channel, seq, isMention: true });
  assert.deepEqual(read(written.get("read") ?? ""), { user: 7n, badge: 12, type: "read", channel, seq });
  assert.deepEqual(read(written.get("test") ?? ""), { user: 7n, badge: 12, type: "test" });
  assert.deepEqual(read(`${written.get("grown")}ffff`), read(written.get("grown") ?? ""), "what a later version adds is left alone");
  for (const none of ["", "{}", "[]", "null", '{"kith":7}', '{"kith":"AAAA"}', '{"kith":"*"}']) assert.equal(readPush(none), undefined, none);
  for (let bytes = 0; bytes < 39; bytes++) assert.equal(read((written.get("grown") ?? "").slice(0, 2 * bytes)), undefined);
});

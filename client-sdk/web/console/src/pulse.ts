// What is plotted: rates and latencies, out of counters and histograms that only ever grow, between one look and the next.
//
// In: vitals of all nodes with the time they were taken. Out: one point for each look. Invariant: a node that was started anew counts from nothing, and
// is left out of the look in which that shows. Bound: KEPT points. Not here: drawing (plot.ts).

import type { Sample, Vitals } from "./api.js";

/** What was seen between two looks. Milliseconds; `undefined`: nothing happened that could be measured. */
export interface Point {
  at: number;
  acksPerSecond: number;
  ackP50?: number;
  ackP99?: number;
  deliveriesPerSecond: number;
  deliveryP99?: number;
  syncP99?: number;
  sessions: number;
}

/** A histogram: how many were at most so many seconds, by rising bounds. */
type Buckets = Map<number, number>;

const ACK = "kith_raft_propose_seconds";
const DELIVERY = "kith_outbox_wait_seconds";
const SYNC = "kith_storage_sync_seconds";
export const KEPT = 120;

const bound = (le: string): number => (le === "+Inf" ? Infinity : Number(le));

export function value(samples: Sample[] | undefined, name: string): number | undefined {
  return samples?.find((sample) => sample.name === name)?.value;
}
function buckets(samples: Sample[], family: string): Buckets {
  const found: Buckets = new Map();
  for (const { name, le, value } of samples) if (name === `${family}_bucket` && le !== undefined) found.set(bound(le), value);
  return found;
}

/** Adds what came into one node's histogram since the look before. */
function grown(into: Buckets, before: Buckets, now: Buckets): void {
  for (const [le, count] of now) into.set(le, (into.get(le) ?? 0) + count - (before.get(le) ?? 0));
}

/** The value below which such a share lies, in milliseconds, between the bounds of its bucket. */
export function quantile(counts: Buckets, share: number): number | undefined {
  const bounds = [...counts].sort(([a], [b]) => a - b);
  const total = bounds.at(-1)?.[1] ?? 0;
  if (total <= 0) return undefined;
  const wanted = share * total;
  let [below, under] = [0, 0];
  for (const [le, count] of bounds) {
    if (count >= wanted) {
      // Beyond the last bound nothing is known but that.
      if (le === Infinity) return below * 1_000;
      const part = count === under ? 1 : (wanted - under) / (count - under);
      return (below + (le - below) * part) * 1_000;
    }
    [below, under] = [le, count];
  }
  return below * 1_000;
}

/** The points so far. */
export class Pulse {
  readonly points: Point[] = [];
  private before: { at: number; nodes: Map<number, Sample[]> } | undefined;

  look(vitals: Vitals, at: number): void {
    const nodes = new Map(vitals.nodes.flatMap(({ node, samples }) => (samples === undefined ? [] : [[node, samples] as const])));
    const { before } = this;
    this.before = { at, nodes };
    if (before === undefined || at <= before.at) return;
    const seconds = (at - before.at) / 1_000;
    const [ack, delivery, sync]: [Buckets, Buckets, Buckets] = [new Map(), new Map(), new Map()];
    let [acks, deliveries, sessions] = [0, 0, 0];
    for (const [node, samples] of nodes) {
      sessions += value(samples, "kith_session_open") ?? 0;
      const old = before.nodes.get(node);
      const uptime = (of: Sample[]): number => value(of, "kith_node_uptime_seconds") ?? 0;
      if (old === undefined || uptime(samples) < uptime(old)) continue;
      const rise = (name: string): number => Math.max(0, (value(samples, name) ?? 0) - (value(old, name) ?? 0));
      acks += rise(`${ACK}_count`);
      deliveries += rise("kith_fanout_deliveries_total");
      for (const [into, family] of [[ack, ACK], [delivery, DELIVERY], [sync, SYNC]] as const) grown(into, buckets(old, family), buckets(samples, family));
    }
    const point: Point = { at, acksPerSecond: acks / seconds, deliveriesPerSecond: deliveries / seconds, sessions };
    const [p50, p99, deliveryP99, syncP99] = [quantile(ack, 0.5), quantile(ack, 0.99), quantile(delivery, 0.99), quantile(sync, 0.99)];
    if (p50 !== undefined) point.ackP50 = p50;
    if (p99 !== undefined) point.ackP99 = p99;
    if (deliveryP99 !== undefined) point.deliveryP99 = deliveryP99;
    if (syncP99 !== undefined) point.syncP99 = syncP99;
    this.points.push(point);
    if (this.points.length > KEPT) this.points.shift();
  }
}

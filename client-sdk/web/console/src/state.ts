// What the console knows of the cluster: looked at every few seconds, shown by whoever listens.
//
// In: answers of the node. Out: the last of each, and what went wrong. Invariant: what is shown was said by the node at `seen`; what could not be asked
// since keeps its last value, and `silent` or `cut` says so. Bound: one look at a time.

import { api, Problem, type Layout, type Me, type Status, type Vitals } from "./api.js";
import { Pulse } from "./pulse.js";

const EVERY_MS = 3_000;

export class State {
  layout: Layout | undefined;
  status: Status | undefined;
  vitals: Vitals | undefined;
  readonly pulse = new Pulse();
  /** When the node last answered. */
  seen = 0;
  /** It does not answer at all. */
  silent = false;
  /** It answers, but does not reach what decides. */
  cut: string | undefined;
  /** The token is not good any more. */
  out: string | undefined;
  private timer = 0;
  private looking: Promise<void> | undefined;
  private stopped = false;

  constructor(
    readonly me: Me,
    private readonly changed: () => void,
  ) {}

  get mayRun(): boolean {
    return this.me.role === "operator" || this.me.role === "admin";
  }
  get mayAll(): boolean {
    return this.me.role === "admin";
  }

  start(): void {
    void this.look();
  }
  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }
  /** Looks now, not only when it is time. */
  look(): Promise<void> {
    clearTimeout(this.timer);
    this.looking ??= this.once().finally(() => {
      this.looking = undefined;
      if (!this.stopped) this.timer = window.setTimeout(() => void this.look(), EVERY_MS);
    });
    return this.looking;
  }

  private async once(): Promise<void> {
    const [vitals, layout, status] = await Promise.allSettled([api.vitals(), api.layout(), api.status()]);
    if (this.stopped) return;
    const all = [vitals, layout, status];
    const problems = all.flatMap((one) => (one.status === "rejected" && one.reason instanceof Problem ? [one.reason] : []));
    this.out = problems.find(({ isOut }) => isOut)?.message;
    this.silent = problems.length === all.length && problems.every(({ isSilence }) => isSilence);
    if (!this.silent) this.seen = Date.now();
    if (vitals.status === "fulfilled") {
      this.vitals = vitals.value;
      this.pulse.look(vitals.value, Date.now());
    }
    if (layout.status === "fulfilled") this.layout = layout.value;
    if (status.status === "fulfilled") this.status = status.value;
    const refused = problems.find(({ isSilence, isOut }) => !isSilence && !isOut);
    const leaders = this.vitals?.unready.find((why) => why.startsWith("leaders:"));
    this.cut = this.silent ? undefined : (refused?.message ?? (vitals.status === "fulfilled" ? leaders : undefined));
    this.changed();
  }
}

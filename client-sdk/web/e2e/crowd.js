// People without a browser, over the HTTP API: they fill conversations for tests and measurements.
//
// In: a node. Out: accounts, groups, many texts. Bound: so many requests at once.

import { PASSWORD } from "./place.js";

const AT_ONCE = 24;

export class Teller {
  /** Makes an account. */
  static signUp(node, name) {
    return Teller.#enter(node, "/v1/sign-up", name);
  }
  /** One more device of somebody. */
  static logIn(node, name) {
    return Teller.#enter(node, "/v1/log-in", name);
  }
  static async #enter(node, path, name) {
    const teller = new Teller();
    teller.node = node;
    const { access, user } = await teller.ask("POST", path, { name, password: PASSWORD, device: "a script" });
    return Object.assign(teller, { access, user, name });
  }
  async ask(method, path, body) {
    const headers = { "content-type": "application/json", ...(this.access === undefined ? {} : { authorization: `Bearer ${this.access}` }) };
    for (;;) {
      const answer = await fetch(`${this.node.url}${path}`, { method, headers, body: body && JSON.stringify(body) });
      const text = await answer.text();
      if (answer.ok) return text === "" ? undefined : JSON.parse(text);
      // Not too fast: that is a rule of the node, which names the seconds.
      const wait = Number(answer.headers.get("retry-after"));
      if (answer.status !== 429 || !(wait >= 0)) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
      await new Promise((resolve) => setTimeout(resolve, 1_000 * Math.max(wait, 0.1)));
    }
  }
  /** Writes to a group, or to somebody by `@name`; gives the seq. */
  async say(to, text, more = {}) {
    return (await this.ask("POST", `/v1/channels/${to}/messages`, { text, ...more })).seq;
  }
  /** Makes a group; gives its id. */
  async group(title, members = []) {
    return (await this.ask("POST", "/v1/channels", { title, members })).channel;
  }
}

/** Calls `act` with 0, 1, 2 and so on, several at once. */
export async function many(count, act) {
  let next = 0;
  const one = async () => {
    for (let at = next++; at < count; at = next++) await act(at);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, one));
}

const WORDS = "the weather on Saturday will be fine so we meet at the hut above the lake and bring ropes shoes bread and something warm for the evening".split(" ");

/** Texts as people write them: mostly short, some of many lines; the same for the same number. */
export function prose(at) {
  const words = at % 97 === 0 ? 180 : at % 11 === 0 ? 40 : 3 + ((at * 7) % 12);
  const text = Array.from({ length: words }, (_, word) => WORDS[(at * 31 + word * 17) % WORDS.length]).join(" ");
  return `${at}: ${at % 29 === 0 ? text.replaceAll(" the ", "\n") : text}`;
}

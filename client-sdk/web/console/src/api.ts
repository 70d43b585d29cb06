// What the console asks of the node that served it: the operators' part of the HTTP API, as node/openapi.json has it.
//
// In: an admin token. Out: parsed answers, or a Problem that says what went wrong. The token is kept for this tab alone, and gone with it.

export type Role = "viewer" | "operator" | "admin";

export interface Me {
  name: string;
  role?: Role;
  expires_s: number;
}
export interface PlacedNode {
  node: number;
  address: string;
  region: number;
  zone: string;
  host: string;
  capacity: number;
  state: "joining" | "up" | "draining" | "left";
  health: "alive" | "suspect" | "down";
  drains: boolean;
  free_bytes: number | null;
  sessions: number | null;
  replicas: number;
  leads: number;
}
export interface PlacedGroup {
  group: number;
  replicas: number[];
  preference: number[];
  leader: number | null;
  voters: number[];
  learners: number[];
  bytes: number;
}
export interface Move {
  group: number;
  what: string;
  why: string;
  bytes: number;
}
export interface Layout {
  version: number;
  balance: boolean;
  nodes: PlacedNode[];
  groups: PlacedGroup[];
  groups_more: number;
  moved: Move[];
  notes: string[];
}
export interface Plan {
  version: number;
  moves: Move[];
  moves_more: number;
  bytes: number;
  notes: string[];
}
export interface Emptied {
  replicas: number;
  bytes: number;
  eta_s: number;
  blocked: string[];
}
export interface Replica {
  node: number;
  applied: number;
  last: number;
  condition: "sound" | "quarantined" | "rebuilding" | "failed";
}
export interface Status {
  cluster: string;
  map_epoch: number;
  nodes: { node: number; alive: boolean; sessions: number | null; rss_bytes: number | null }[];
  groups: { group: number; leader: number | null; term: number; replicas: Replica[] }[];
}
export interface Sample {
  name: string;
  le?: string;
  value: number;
}
export interface Vitals {
  asked: number;
  ready: boolean;
  unready: string[];
  nodes: { node: number; samples?: Sample[] }[];
}
export interface AuditEntry {
  entry: number;
  at_ms: number;
  by?: string;
  token?: string;
  act: string;
  user?: string;
  of?: string;
  note: string;
  state: "begun" | "done" | "refused";
  refused?: number;
}
export interface Audit {
  entries: AuditEntry[];
  next?: number;
}
export interface AdminToken {
  id: string;
  name: string;
  role: Role;
  state: string;
  by?: string;
  by_token?: string;
  made_ms: number;
  until_ms: number;
}
export interface JoinToken {
  id: string;
  state: string;
  zone: string;
  node: number | null;
  until_ms: number;
}
export interface Made {
  id: string;
  token: string;
  until_ms: number;
}

/** Why there is no answer, for a person. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
  /** The node itself did not answer. */
  get isSilence(): boolean {
    return this.status === 0;
  }
  /** The token is none, or no longer. */
  get isOut(): boolean {
    return this.status === 401 || [2001, 2002, 2003].includes(this.code);
  }
}

const KEPT = "kith.console.token";
const WITHIN_MS = 12_000;

export function keptToken(): string | null {
  return sessionStorage.getItem(KEPT);
}
export function keepToken(token: string | null): void {
  if (token === null) sessionStorage.removeItem(KEPT);
  else sessionStorage.setItem(KEPT, token);
}

async function ask<T>(method: string, path: string, body?: object, token = keptToken()): Promise<T> {
  const headers: Record<string, string> = {};
  if (token !== null) headers["authorization"] = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const asked: RequestInit = { method, headers, cache: "no-store", signal: AbortSignal.timeout(WITHIN_MS) };
  if (body !== undefined) asked.body = JSON.stringify(body);
  let answer: Response;
  let value: unknown;
  try {
    answer = await fetch(path, asked);
    value = await answer.json();
  } catch {
    throw new Problem(0, 0, "This node does not answer.");
  }
  if (answer.ok) return value as T;
  const problem = value as { code?: number; detail?: string; title?: string };
  throw new Problem(answer.status, problem.code ?? 0, problem.detail ?? problem.title ?? `The node answered ${answer.status}.`);
}

export const api = {
  me: (token: string): Promise<Me> => ask("GET", "/v1/me", undefined, token),
  claim: (token: string, name: string): Promise<Made> => ask("POST", "/v1/admin-tokens/claim", { token, name }, null),
  layout: (): Promise<Layout> => ask("GET", "/v1/layout"),
  status: (): Promise<Status> => ask("GET", "/v1/status"),
  vitals: (): Promise<Vitals> => ask("GET", "/v1/vitals"),
  plan: (): Promise<Plan> => ask("GET", "/v1/layout/plan"),
  apply: (version: number): Promise<Plan> => ask("POST", "/v1/layout/apply", { version }),
  drain: (node: number, on: boolean): Promise<unknown> => ask("PUT", `/v1/layout/nodes/${node}/drain`, { on }),
  decommission: (node: number, dry_run: boolean): Promise<Emptied> => ask("POST", `/v1/layout/nodes/${node}/decommission`, { dry_run }),
  recommission: (node: number): Promise<unknown> => ask("POST", `/v1/layout/nodes/${node}/recommission`, {}),
  audit: (before?: number): Promise<Audit> => ask("GET", before === undefined ? "/v1/audit" : `/v1/audit?before=${before}`),
  admins: (): Promise<{ tokens: AdminToken[] }> => ask("GET", "/v1/admin-tokens"),
  makeAdmin: (name: string, role: Role, expires_s: number): Promise<Made> => ask("POST", "/v1/admin-tokens", { name, role, expires_s }),
  endAdmin: (id: string): Promise<unknown> => ask("DELETE", `/v1/admin-tokens/${id}`),
  joins: (): Promise<{ tokens: JoinToken[] }> => ask("GET", "/v1/join-tokens"),
  makeJoin: (expires_s: number): Promise<Made> => ask("POST", "/v1/join-tokens", { expires_s }),
  endJoin: (id: string): Promise<unknown> => ask("DELETE", `/v1/join-tokens/${id}`),
};

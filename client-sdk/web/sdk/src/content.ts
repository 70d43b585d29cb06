// What a record says, as an app reads it.
//
// In: a `Record` of the wire. Out: a `Content`; a kind that this version does not know is shown as such, never dropped. Texts are texts: whoever shows
// one must not make markup of it.

import { create, fromBinary } from "@bufbuild/protobuf";

import type { Seq, UserId } from "./id.js";
import type { Request } from "./wire/kith/client/v1/client_pb.js";
import {
  ActSchema,
  ContentSchema,
  CreatedSchema,
  ErasedUserSchema,
  GoneTextSchema,
  GoneWhy,
  MemberChangeSchema,
  RecordSchema,
  Role,
  TextSchema,
  type Act,
  type Record,
} from "./wire/kith/log/v1/log_pb.js";

export type RoleName = "member" | "admin" | "owner";

export type Content =
  | { type: "text"; text: string; replyTo: Seq | undefined; mentions: readonly UserId[]; forwardedFrom: UserId | undefined }
  | { type: "gone"; why: "deleted" | "expired" | "erased" | "changed" }
  | { type: "created"; title: string; members: readonly UserId[] }
  | { type: "added" | "removed"; user: UserId }
  | { type: "left" | "joined" }
  | { type: "role"; user: UserId; role: RoleName }
  | { type: "described"; title: string | undefined; about: string | undefined }
  | { type: "pinned"; target: Seq; on: boolean }
  | { type: "handed"; user: UserId }
  | { type: "ruled" }
  | { type: "muted"; user: UserId; until: bigint }
  | { type: "banned"; user: UserId; on: boolean }
  /** Shown where it acts, not where it stands. */
  | { type: "edit"; target: Seq; text: string; mentions: readonly UserId[] }
  | { type: "delete"; target: Seq }
  | { type: "react"; target: Seq; emoji: string; on: boolean }
  | { type: "unknown"; kind: number };

const Kind = { text: 1, created: 2, members: 3, act: 4, gone: 5, erased: 6 } as const;

export function roleName(role: Role): RoleName {
  return role === Role.OWNER ? "owner" : role === Role.ADMIN ? "admin" : "member";
}

export function contentOf(record: Record): Content {
  const kind = record.content?.kind ?? 0;
  const body = record.content?.body ?? new Uint8Array();
  try {
    switch (kind) {
      case Kind.text: {
        const { text, replyTo, mentions, extra } = fromBinary(TextSchema, body);
        return { type: "text", text, replyTo, mentions, forwardedFrom: extra?.origin?.sender };
      }
      case Kind.created: {
        const { title, members } = fromBinary(CreatedSchema, body);
        return { type: "created", title, members };
      }
      case Kind.members:
        return memberChange(body, kind);
      case Kind.act:
        return act(fromBinary(ActSchema, body), kind);
      case Kind.gone:
        return { type: "gone", why: goneWhy(fromBinary(GoneTextSchema, body).why) };
      case Kind.erased:
        return { type: "removed", user: fromBinary(ErasedUserSchema, body).user };
    }
  } catch {
    // What cannot be read is shown as what is not known.
  }
  return { type: "unknown", kind };
}

/** What a write will say; `undefined`: it is nothing that a timeline shows. */
export function contentOfWrite(request: Request): Content | undefined {
  const { case: kind, value } = request.request;
  if (kind === "send") return { type: "text", text: value.text, replyTo: value.replyTo, mentions: value.mentions, forwardedFrom: undefined };
  if (kind === "act" && value.act !== undefined) return act(value.act, Kind.act);
  return undefined;
}

/** The same record with its text gone, for the store: a deleted text is not kept. */
export function emptied(record: Record): Record {
  const body = new Uint8Array([0x08, GoneWhy.DELETED, 0x10, 1]);
  return create(RecordSchema, { ...record, content: create(ContentSchema, { kind: Kind.gone, body }) });
}

function memberChange(body: Uint8Array, kind: number): Content {
  const { case: change, value } = fromBinary(MemberChangeSchema, body).change;
  switch (change) {
    case "add":
      return { type: "added", user: value };
    case "remove":
      return { type: "removed", user: value };
    case "leave":
      return { type: "left" };
    case "join":
      return { type: "joined" };
    case "setRole":
      return { type: "role", user: value.user, role: roleName(value.role) };
    default:
      return { type: "unknown", kind };
  }
}

function act(act: Act, kind: number): Content {
  const { case: what, value } = act.act;
  switch (what) {
    case "post":
      return { type: "text", text: value.text, replyTo: value.replyTo, mentions: value.mentions, forwardedFrom: undefined };
    case "edit":
      return { type: "edit", target: value.target, text: value.text, mentions: value.mentions };
    case "delete":
      return { type: "delete", target: value.target };
    case "react":
      return { type: "react", target: value.target, emoji: value.emoji, on: value.on };
    case "pin":
      return { type: "pinned", target: value.target, on: value.on };
    case "describe":
      return { type: "described", title: value.title, about: value.about };
    case "setRules":
      return { type: "ruled" };
    case "handOver":
      return { type: "handed", user: value.to };
    case "mute":
      return { type: "muted", user: value.user, until: value.until };
    case "ban":
      return { type: "banned", user: value.user, on: value.on };
    default:
      return { type: "unknown", kind };
  }
}

function goneWhy(why: GoneWhy): "deleted" | "expired" | "erased" | "changed" {
  switch (why) {
    case GoneWhy.EXPIRED:
    case GoneWhy.RETENTION:
      return "expired";
    case GoneWhy.ERASED:
      return "erased";
    case GoneWhy.CHANGED:
      return "changed";
    default:
      return "deleted";
  }
}

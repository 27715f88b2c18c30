/** Commits and tags as their signatures see them: https://git-scm.com/docs/gitformat-signature. */
import { createHash } from "node:crypto";

/** What a signature covers, and the signature. */
export interface SignedObject {
  readonly payload: Buffer;
  readonly signature: string;
  /** When it was made, by its own account, in seconds since the epoch. */
  readonly time: number;
}

/** A tag object's words about what it names. */
export interface TagHead {
  readonly object: string;
  readonly type: string;
  readonly name: string;
}

const SIGNATURE =
  /^-----BEGIN (?:PGP SIGNATURE|PGP MESSAGE|SIGNED MESSAGE|SSH SIGNATURE)-----\r?$/gm;

/** Whether an object is the one that its name says: by its own bytes, whoever read them. */
export function isObject(oid: string, type: "commit" | "tag", data: Uint8Array): boolean {
  const sum = createHash(oid.length === 64 ? "sha256" : "sha1");
  return sum.update(`${type} ${data.length}\0`).update(data).digest("hex") === oid;
}

/** The signature in the head of a commit; `undefined` where it has none, or more than one. */
export function signedCommit(oid: string, data: Uint8Array): SignedObject | undefined {
  const { head, body } = split(data);
  const { rest, signatures } = takeSignatures(head);
  // There may be one for each of the two names that a commit can have.
  const name = oid.length === 64 ? "gpgsig-sha256" : "gpgsig";
  const own = signatures.filter((each) => each.name === name);
  const [only] = own;
  if (only === undefined || own.length > 1) return undefined;
  return { payload: bytes(rest + body), signature: only.text, time: timeOf(rest, "committer") };
}

/** The signature at the end of a tag; `undefined` where there is none. */
export function signedTag(data: Uint8Array): SignedObject | undefined {
  const { head, body } = split(data);
  const start = [...body.matchAll(SIGNATURE)].at(-1)?.index;
  if (start === undefined) return undefined;
  const { rest } = takeSignatures(head);
  return {
    payload: bytes(rest + body.slice(0, start)),
    signature: body.slice(start),
    time: timeOf(rest, "tagger"),
  };
}

/** The head of a tag; a line that is missing is empty. */
export function tagHead(data: Uint8Array): TagHead {
  const { head } = split(data);
  const line = (name: string) => new RegExp(`^${name} (.*)$`, "m").exec(head)?.[1] ?? "";
  return {
    object: line("object"),
    type: line("type"),
    name: bytes(line("tag")).toString(),
  };
}

/** One character for each byte: what is signed are bytes. */
function split(data: Uint8Array): { readonly head: string; readonly body: string } {
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("latin1");
  const end = text.indexOf("\n\n");
  return end === -1
    ? { head: text, body: "" }
    : { head: text.slice(0, end + 1), body: text.slice(end + 1) };
}

/** Takes signatures out of a head; lines that go on begin with a blank. */
function takeSignatures(head: string) {
  const signatures: { name: string; text: string }[] = [];
  const rest = head.replaceAll(
    /^(gpgsig(?:-sha256)?) (.*\n(?: .*\n)*)/gm,
    (_, name: string, text: string) => {
      signatures.push({ name, text: text.replaceAll("\n ", "\n") });
      return "";
    },
  );
  return { rest, signatures };
}

function timeOf(head: string, who: string): number {
  return Number(new RegExp(`^${who} .* (\\d+) [+-]\\d{4}$`, "m").exec(head)?.[1] ?? 0);
}

function bytes(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

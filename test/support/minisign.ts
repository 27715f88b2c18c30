/** Keys and signatures as minisign makes them, without the program. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

export interface MinisignKey {
  /** As `minisign.pub` has it, in one line. */
  readonly publicKey: string;
  readonly id: Buffer;
  readonly secret: KeyObject;
}

export function minisignKey(): MinisignKey {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const id = randomBytes(8);
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
  const text = Buffer.concat([Buffer.from("Ed"), id, raw]).toString("base64");
  return { publicKey: text, id, secret: privateKey };
}

/** The text of a `.minisig`. */
export function minisign({ id, secret }: MinisignKey, content: Uint8Array | string): string {
  const signature = sign(null, createHash("blake2b512").update(content).digest(), secret);
  const comment = "timestamp:1700000000\tfile:x\thashed";
  const global = sign(null, Buffer.concat([signature, Buffer.from(comment)]), secret);
  const body = Buffer.concat([Buffer.from("ED"), id, signature]).toString("base64");
  return `untrusted comment: a signature\n${body}\ntrusted comment: ${comment}\n${global.toString("base64")}\n`;
}

import type { Signer } from "@pannier/core/adapter";
import { expect, test } from "vitest";
import { minisign, minisignKey } from "../../../test/support/minisign.ts";
import { openFileChecks } from "../src/index.ts";

/** Made by minisign 0.11. */
const KEY = "RWRv65y8TgTz0NeB9Fy6fuWvkV5bh8mwX5s2/btBUQTUp6mpTOjpbI7M";
const CONTENT = "hello\n";
const SIGNATURE = `untrusted comment: signature from minisign secret key
RURv65y8TgTz0MYvZJyQNncTH4GkfautrbBDxpBr2DCLqNHA/St2YV30lVI10vHq4a2sBrtJugtCxbww2yFW3LYUh4CFPb+BOQ4=
trusted comment: timestamp:1 file:hello.txt
h/q4JshEwU2uNzDqqlIbfafssVVvqzn40m6rUHjt21BqIUouE3h3BrOS6rxaB9xIuoPY754kCOq0m+9bbHQPAQ==
`;
/** The same by `minisign -l`: of content that was not hashed. */
const OLD = `untrusted comment: signature from minisign secret key
RWRv65y8TgTz0CmkpCgCeBs2Q1T8AIjjSgUK6SI8xL9fS0wA1aGXz52/7Fi+VM7a5JR6NzVONSzdOeMPyB+iPu9MvJD1vdBvtwA=
trusted comment: timestamp:1795922441	file:hello.txt
QTnoQ3bCksxMHuMnWC3MYK6RGYVnhNa3F1Sm4O0Wr4Jd4nZ38xwf0ebXEshR0l5Iw9ZT/ngftjXTjQes66hLAQ==
`;

const signer = (key: string): Signer => ({
  kind: "minisign",
  text: `minisign:${key}`,
  trusted: { key },
});

async function check(signature: string | undefined, content = CONTENT, keys = [KEY]) {
  const beside = async () => (signature === undefined ? undefined : Buffer.from(signature));
  const checks = await openFileChecks(beside, keys.map(signer));
  for (const byte of Buffer.from(content)) checks.update(Buffer.from([byte]));
  return checks.finish();
}

test("what the program signed is good, whatever key is trusted beside it", async () => {
  const good = { kind: "minisign", of: "file", key: "D0F3044EBC9CEB6F" };
  expect(await check(SIGNATURE)).toEqual(good);
  expect(await check(SIGNATURE.replaceAll("\n", "\r\n"))).toEqual(good);
  expect(await check(SIGNATURE, CONTENT, [minisignKey().publicKey, KEY])).toEqual(good);
});

test("anything else is not, and is told why", async () => {
  const other = minisignKey();
  const lines = SIGNATURE.split("\n");
  const [, body = "", , global = ""] = lines;
  const cases: [what: string, signature: string | undefined, content: string, message: RegExp][] = [
    ["none", undefined, CONTENT, /there is no \.minisig beside it/],
    ["empty", "", CONTENT, /not whole/],
    ["cut", SIGNATURE.slice(0, -20), CONTENT, /not whole/],
    ["without its comment", lines.slice(0, 2).join("\n"), CONTENT, /not whole/],
    ["more behind it", `${SIGNATURE}more\n`, CONTENT, /not whole/],
    ["of other content", SIGNATURE, "hello", /is not of this content/],
    ["a changed signature", SIGNATURE.replace(body, flipped(body, 20)), CONTENT, /not of this/],
    ["a changed comment", SIGNATURE.replace("hello.txt", "other.txt"), CONTENT, /not of this/],
    ["a changed cover", SIGNATURE.replace(global, flipped(global, 9)), CONTENT, /not of this/],
    ["another's key", minisign(other, CONTENT), CONTENT, /trusted is D0F3044EBC9CEB6F/],
    ["another's under our name", minisign({ ...other, id: idOf(KEY) }, CONTENT), CONTENT, /not of/],
    ["of the old form", OLD, CONTENT, /not of the form that minisign makes today/],
    ["too long", SIGNATURE + " ".repeat(70_000), CONTENT, /too long/],
  ];
  for (const [what, signature, content, message] of cases)
    await expect(check(signature, content), what).rejects.toMatchObject({
      exitCode: 6,
      message: expect.stringMatching(message),
    });
});

test("what is no key of minisign is a mistake", async () => {
  const long = `RW${"A".repeat(200)}`;
  for (const key of ["rubbish", long, SIGNATURE])
    await expect(check(SIGNATURE, CONTENT, [key])).rejects.toMatchObject({ exitCode: 2 });
});

function idOf(key: string): Buffer {
  return Buffer.from(key, "base64").subarray(2, 10);
}

function flipped(base64: string, at: number): string {
  const bytes = Buffer.from(base64, "base64");
  bytes[at] = (bytes[at] as number) ^ 1;
  return bytes.toString("base64");
}

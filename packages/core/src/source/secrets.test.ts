import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { UsageError } from "./errors.ts";
import { readCredentialFile, readSecret, readToken } from "./secrets.ts";

function file(content: string): string {
  const dir = mkdtempSync(join(tmpdir(), "pannier-secret-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const path = join(dir, "secret");
  writeFileSync(path, content);
  return path;
}

test("line ends at the end are no part of a secret; blanks are", async () => {
  for (const end of ["", "\n", "\r\n", "\n\n", "\r\n\r\n"]) {
    expect(await readSecret(file(` pass word \t${end}`), "password file")).toBe(" pass word \t");
  }
  expect(await readSecret(file("two\nlines\n"), "password file")).toBe("two\nlines");
});

test("blanks around a token are no part of it", async () => {
  expect(await readToken(file(" token= \r\n"), "token file")).toBe("token=");
  for (const content of ["to ken", "tok\nen", "t\u00f6ken"]) {
    const path = file(content);
    await expect(readToken(path, "token file")).rejects.toThrow(
      `the token file ${path} holds no token`,
    );
  }
});

test("what is missing, a directory or empty is a mistake of whoever configured it, and named", async () => {
  for (const read of [readSecret, readToken, readCredentialFile]) {
    await expect(read("/nowhere/secret", "key")).rejects.toThrow(
      "the key /nowhere/secret cannot be read (ENOENT)",
    );
    await expect(read(tmpdir(), "key")).rejects.toThrow(`${tmpdir()} cannot be read (EISDIR)`);
    await expect(read(file(""), "key")).rejects.toThrow(/^the key .* is empty$/);
    await expect(read(file(""), "key")).rejects.toBeInstanceOf(UsageError);
  }
  for (const read of [readSecret, readToken]) {
    await expect(read(file("\n\r\n"), "key")).rejects.toThrow(/is empty$/);
  }
  await expect(readToken(file("  \n"), "key")).rejects.toThrow(/is empty$/);
  const empty = await readCredentialFile(file(""), "known hosts file", { mayBeEmpty: true });
  expect(empty.length).toBe(0);
});

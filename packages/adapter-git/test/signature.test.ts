/** Signed commits and tags, made by git, ssh-keygen and gpg themselves. */
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { history, plan, status, sync, type SyncOptions } from "@pannier/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TestRepository } from "../../../test/support/git-server.ts";
import { git } from "../src/index.ts";
import { errorOf, type Options, scratchDirectory, setup, withoutGit } from "./setup.ts";

const shared = setup();

function isMissing(program: string): boolean {
  try {
    execFileSync("which", [program]);
    return false;
  } catch {
    return true;
  }
}

const missing = ["ssh-keygen", "gpg", "gpgv"].filter(isMissing);
const skipReason = `needs git and ${missing.join(", ")}`;

/** How git is told to sign. */
type Key = readonly string[];

/** Keys of this file, made once. */
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-keys-"));
});

afterAll(async () => {
  for (const home of homes) execFileSync("gpgconf", ["--homedir", home, "--kill", "all"]);
  await rm(folder, { recursive: true, force: true });
});

/** A key of ssh; `line` is its line in a list of allowed signers. */
async function sshKey(name: string, options = ""): Promise<{ key: Key; line: string }> {
  const file = join(folder, `${name}-${Math.random()}`);
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file]);
  const [type, key] = (await readFile(`${file}.pub`, "utf8")).split(" ");
  return {
    key: ["-c", "gpg.format=ssh", "-c", `user.signingKey=${file}`],
    line: `${name}@example.com ${options}${type} ${key}\n`,
  };
}

const homes: string[] = [];

/** A key of OpenPGP, and the keyring that holds it. @param at the time by which gpg makes the key and signs */
async function openPgpKey(name: string, expires = "never", at?: string) {
  const home = await mkdtemp(join(folder, "g-"));
  homes.push(home);
  const faked = at === undefined ? [] : ["--faked-system-time", `${at}!`];
  const gpg = ["--homedir", home, "--batch", ...faked];
  const id = `${name} <${name}@example.com>`;
  const made = ["--passphrase", "", "--quick-generate-key", id, "ed25519", "sign", expires];
  execFileSync("gpg", [...gpg, ...made], { stdio: "ignore" });
  const armoured = execFileSync("gpg", [...gpg, "--armor", "--export"]);
  const program = join(home, "sign");
  await writeFile(program, `#!/bin/sh\nexec gpg ${gpg.join(" ")} "$@"\n`, { mode: 0o755 });
  const key: Key = ["-c", `gpg.program=${program}`, "-c", `user.signingKey=${name}@example.com`];
  return { key, armoured, binary: execFileSync("gpg", [...gpg, "--export"]) };
}

async function keep(content: string | Uint8Array): Promise<string> {
  const file = join(folder, `trusted-${Math.random()}`);
  await writeFile(file, content);
  return file;
}

/** Commits, signs and moves a branch. */
async function signed(
  repository: TestRepository,
  files: Readonly<Record<string, string>>,
  { key }: { readonly key: Key },
): Promise<string> {
  const plain = await repository.commit(files);
  const raw = await repository.git("cat-file", "commit", plain);
  const parents = [...raw.matchAll(/^parent (\w+)$/gm)].flatMap(([, oid = ""]) => ["-p", oid]);
  const oid = await repository.git(
    ...key,
    "commit-tree",
    "-S",
    "-m",
    "signed",
    ...parents,
    `${plain}^{tree}`,
  );
  await repository.git("update-ref", "refs/heads/main", oid);
  return oid;
}

const tag = (repository: TestRepository, { key }: { readonly key: Key }, ...args: string[]) =>
  repository.git(...key, "-c", "user.name=Ada", "-c", "user.email=a@b.c", "tag", ...args);

/** A mount that is synced several times. */
async function mount(url: string, options: Options, signedBy: readonly string[]) {
  const target = join(await scratchDirectory(), "target");
  const own = (): SyncOptions => ({ sources: [git(url, options)], target, signedBy });
  return {
    target,
    sync: (other: Partial<SyncOptions> = {}) => sync({ ...own(), ...other }),
    plan: () => plan(own()),
    read: (name: string) => readFile(join(target, "current", name), "utf8"),
    signature: () => status(target)?.sources[0]?.signature,
  };
}

describe.each(["cli", "js"] as const)("engine=%s", (engine) => {
  describe.skipIf(withoutGit || missing.length > 0)("signed", { meta: { skipReason } }, () => {
    test("a commit by ssh: published, with who signed it; the next one is compared", async () => {
      const repository = await shared.repository();
      const ada = await sshKey("ada");
      const oid = await signed(repository, { a: "1", b: "1" }, ada);
      const site = await mount(repository.url, { engine }, [`ssh:${await keep(ada.line)}`]);
      expect(await site.sync()).toMatchObject({ result: "published", revision: oid });
      const first = site.signature();
      expect(first).toEqual({
        kind: "ssh",
        of: "commit",
        by: "ada@example.com",
        key: expect.stringMatching(/^SHA256:/),
      });
      expect(await site.sync()).toMatchObject({ result: "unchanged" });
      await signed(repository, { a: "2" }, ada);
      expect(await site.sync()).toMatchObject({ result: "published", changed: 1 });
      expect(site.signature()).toEqual(first);
      expect(history(site.target).map(({ sources }) => sources[0]?.signature)).toEqual([
        first,
        first,
      ]);
    });

    test("a signature that was moved to another tree, changed or cut", async () => {
      const repository = await shared.repository();
      const ada = await sshKey("ada");
      const good = await signed(repository, { a: "1" }, ada);
      const other = await repository.commit({ a: "evil" });
      const tree = await repository.git("rev-parse", `${other}^{tree}`);
      const raw = `${await repository.git("cat-file", "commit", good)}\n`;
      const site = await mount(repository.url, { engine }, [`ssh:${await keep(ada.line)}`]);
      const attacks = [
        raw.replace(/^tree \w+/, `tree ${tree}`),
        raw.replace(/\nsigned\n$/, "\nsigned, or not\n"),
        raw.replace(/( \S+\n)( -----END SSH)/, "$2"),
        // The first one is of this commit; what git would make of two is not our guess.
        raw.replace(/^(gpgsig .*\n(?: .*\n)*)/m, "$1$1"),
      ];
      for (const attack of attacks) {
        expect(attack).not.toBe(raw);
        const oid = await repository.object("commit", Buffer.from(attack));
        await repository.git("update-ref", "refs/heads/main", oid);
        expect(await errorOf(site.sync()), attack).toMatchObject({ exitCode: 6 });
      }
      await repository.git("update-ref", "refs/heads/main", good);
      expect(await site.sync()).toMatchObject({ result: "published" });
    });

    test("a signed tag of a commit that is not signed", async () => {
      const repository = await shared.repository();
      const [ada, eve] = [await sshKey("ada"), await sshKey("eve")];
      const oid = await repository.commit({ a: "1" });
      await tag(repository, ada, "-s", "-m", "one", "v1");
      const site = await mount(repository.url, { engine, ref: "v1" }, [
        `ssh:${await keep(ada.line)}`,
      ]);
      expect(await site.sync()).toMatchObject({ result: "published", revision: oid });
      expect(site.signature()).toMatchObject({ of: "tag v1", by: "ada@example.com" });
      // Moved: by another's key, without one, as a mere name.
      await repository.commit({ a: "2" });
      for (const args of [["-s", "-m", "two"], ["-a", "-m", "two"], []]) {
        await tag(repository, eve, "-f", ...args, "v1");
        expect(await errorOf(site.sync()), args.join(" ")).toMatchObject({ exitCode: 6 });
        expect(await site.read("a")).toBe("1");
      }
      await tag(repository, ada, "-f", "-s", "-m", "two", "v1");
      expect(await site.sync()).toMatchObject({ result: "published" });
      // The same commit under a tag of another time: its signature is found all the same.
      await tag(repository, ada, "-f", "-s", "-m", "three", "v1");
      expect(await site.sync()).toMatchObject({ result: "unchanged" });
    });

    test("OpenPGP, by a keyring as text and as bytes; another's key, and one past its time", async () => {
      const repository = await shared.repository();
      const ada = await openPgpKey("ada");
      await signed(repository, { a: "1" }, ada);
      for (const keyring of [ada.armoured, ada.binary]) {
        const site = await mount(repository.url, { engine }, [`openpgp:${await keep(keyring)}`]);
        expect(await site.sync()).toMatchObject({ result: "published" });
        expect(site.signature()).toMatchObject({
          kind: "openpgp",
          of: "commit",
          by: "ada <ada@example.com>",
          key: expect.stringMatching(/^[0-9A-F]{40}$/),
        });
      }
      const bob = await openPgpKey("bob");
      const other = await mount(repository.url, { engine }, [`openpgp:${await keep(bob.binary)}`]);
      expect(await errorOf(other.sync())).toMatchObject({
        exitCode: 6,
        message: expect.stringContaining("it is by no key of the keyring"),
      });
      const old = await openPgpKey("old", "1d", "20200101T000000");
      await signed(repository, { a: "2" }, old);
      const late = await mount(repository.url, { engine }, [`openpgp:${await keep(old.binary)}`]);
      expect(await errorOf(late.sync())).toMatchObject({
        exitCode: 6,
        message: expect.stringContaining("its key is past its time"),
      });
      await tag(repository, ada, "-s", "-m", "one", "v1");
      const byTag = await mount(repository.url, { engine, ref: "v1" }, [
        `openpgp:${await keep(ada.binary)}`,
      ]);
      await byTag.sync();
      expect(byTag.signature()).toMatchObject({ of: "tag v1" });
    });
  });
});

describe.skipIf(withoutGit || missing.length > 0)(
  "signed, by either engine",
  { meta: { skipReason } },
  () => {
    const engine = "cli";

    test("a commit that is not signed is refused, and the old one stays", async () => {
      const repository = await shared.repository();
      const ada = await sshKey("ada");
      await signed(repository, { a: "1" }, ada);
      const site = await mount(repository.url, { engine }, [`ssh:${await keep(ada.line)}`]);
      await site.sync();
      const oid = await repository.commit({ a: "2" });
      const error = await errorOf(site.sync());
      expect(error).toMatchObject({ exitCode: 6, message: `commit ${oid} is not signed` });
      expect(await site.read("a")).toBe("1");
      expect(await errorOf(site.plan())).toMatchObject({ exitCode: 6 });
    });

    test("by a key that nobody trusts, and by one that is trusted for something else", async () => {
      const repository = await shared.repository();
      const ada = await sshKey("ada", 'namespaces="file" ');
      const eve = await sshKey("eve");
      const signedBy = [`ssh:${await keep(ada.line)}`];
      for (const key of [eve, ada]) {
        await signed(repository, { a: "1" }, key);
        const site = await mount(repository.url, { engine }, signedBy);
        expect(await errorOf(site.sync())).toMatchObject({ exitCode: 6 });
        expect(site.signature()).toBeUndefined();
      }
    });

    test("a key that retired signs what is older, and no more what is newer", async () => {
      const repository = await shared.repository();
      const ada = await sshKey("ada", 'valid-before="20230101" ');
      const site = await mount(repository.url, { engine }, [`ssh:${await keep(ada.line)}`]);
      // The dates of a commit are those of its tests' repository: 2023-11-14.
      await signed(repository, { a: "1" }, ada);
      expect(await errorOf(site.sync())).toMatchObject({
        exitCode: 6,
        message: expect.stringMatching(/expired|valid|principal/i),
      });
      const later = ada.line.replace("20230101", "20240101");
      const other = await mount(repository.url, { engine }, [`ssh:${await keep(later)}`]);
      expect(await other.sync()).toMatchObject({ result: "published" });
    });

    test("keys are rotated: what the old one signed is refused at once, what the new one signs is not", async () => {
      const repository = await shared.repository();
      const [ada, bob] = [await sshKey("ada"), await sshKey("bob")];
      const file = await keep(ada.line);
      await signed(repository, { a: "1" }, ada);
      const site = await mount(repository.url, { engine }, [`ssh:${file}`]);
      await site.sync();
      await writeFile(file, ada.line + bob.line);
      expect(await site.sync()).toMatchObject({ result: "unchanged" });
      await writeFile(file, bob.line);
      expect(await errorOf(site.sync())).toMatchObject({ exitCode: 6 });
      expect(await site.read("a")).toBe("1");
      await signed(repository, { a: "2" }, bob);
      expect(await site.sync()).toMatchObject({ result: "published" });
      expect(site.signature()).toMatchObject({ by: "bob@example.com" });
    });

    test("what was published before anybody had to sign is checked before it counts", async () => {
      const repository = await shared.repository();
      const ada = await sshKey("ada");
      await repository.commit({ a: "1" });
      const site = await mount(repository.url, { engine }, [`ssh:${await keep(ada.line)}`]);
      await site.sync({ signedBy: [] });
      expect(await errorOf(site.sync())).toMatchObject({ exitCode: 6 });
      // And the other way round: nothing is said of a signature that was not asked for.
      await signed(repository, { a: "1" }, ada);
      await site.sync();
      expect(site.signature()).toBeDefined();
      await repository.commit({ a: "2" });
      await site.sync({ signedBy: [] });
      expect(site.signature()).toBeUndefined();
    });

    test("a tag under another's name, and a signature moved to another tag", async () => {
      const repository = await shared.repository();
      const ada = await sshKey("ada");
      const signedBy = [`ssh:${await keep(ada.line)}`];
      await repository.commit({ a: "1" });
      await tag(repository, ada, "-s", "-m", "one", "v1");
      const v1 = await repository.git("rev-parse", "refs/tags/v1");
      await repository.git("update-ref", "refs/tags/v2", v1);
      const renamed = await mount(repository.url, { engine, ref: "v2" }, signedBy);
      expect(await errorOf(renamed.sync())).toMatchObject({
        exitCode: 6,
        message: expect.stringContaining("tag v2 is in truth the tag v1"),
      });
      const raw = `${await repository.git("cat-file", "tag", "v1")}\n`;
      await repository.commit({ a: "evil" });
      const evil = await repository.git("rev-parse", "refs/heads/main");
      const moved = raw.replace(/^object \w+/, `object ${evil}`);
      const oid = await repository.object("tag" as "blob", Buffer.from(moved));
      await repository.git("update-ref", "refs/tags/v1", oid);
      const site = await mount(repository.url, { engine, ref: "v1" }, signedBy);
      expect(await errorOf(site.sync())).toMatchObject({ exitCode: 6 });
    });

    test("a commit named by its SHA", async () => {
      const repository = await shared.repository();
      const ada = await sshKey("ada");
      const plain = await repository.commit({ a: "1" });
      const good = await signed(repository, { a: "2" }, ada);
      const signedBy = [`ssh:${await keep(ada.line)}`];
      const site = await mount(repository.url, { engine, ref: good }, signedBy);
      expect(await site.sync()).toMatchObject({ result: "published", immutable: true });
      const other = await mount(repository.url, { engine, ref: plain }, signedBy);
      expect(await errorOf(other.sync())).toMatchObject({ exitCode: 6 });
    });

    test("several signers: one is enough, whatever its kind", async () => {
      const repository = await shared.repository();
      const [ada, bob] = [await openPgpKey("ada"), await sshKey("bob")];
      const signedBy = [`ssh:${await keep(bob.line)}`, `openpgp:${await keep(ada.binary)}`];
      const site = await mount(repository.url, { engine }, signedBy);
      await signed(repository, { a: "1" }, ada);
      await site.sync();
      expect(site.signature()).toMatchObject({ kind: "openpgp" });
      await signed(repository, { a: "2" }, bob);
      await site.sync();
      expect(site.signature()).toMatchObject({ kind: "ssh" });
    });

    test("what is trusted cannot be read: nothing is published", async () => {
      const repository = await shared.repository();
      const ada = await sshKey("ada");
      await signed(repository, { a: "1" }, ada);
      const none = join(folder, "none");
      const site = await mount(repository.url, { engine }, [`ssh:${none}`]);
      expect(await errorOf(site.sync())).toMatchObject({
        exitCode: 2,
        message: `the allowed signers file ${none} cannot be read (ENOENT)`,
      });
      const empty = await mount(repository.url, { engine }, [`ssh:${await keep("")}`]);
      expect(await errorOf(empty.sync())).toMatchObject({ exitCode: 2 });
      const rubbish = await mount(repository.url, { engine }, [`ssh:${await keep("rubbish\n")}`]);
      expect(await errorOf(rubbish.sync())).toMatchObject({ exitCode: 6 });
    });
  },
);

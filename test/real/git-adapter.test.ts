/** The git adapter over a real sshd, and over nginx in front of git http-backend. */
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { git as gitSource } from "@pannier/adapter-git";
import { listAll, type OpenedSource, openSource, readAll } from "@pannier/adapter-kit";
import type { Credentials } from "@pannier/core";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { makeRepository, type TestRepository } from "../support/git-server.ts";
import { runPannier } from "../support/pannier.ts";
import { describeWith } from "./support.ts";

async function open(
  url: string,
  credentials: Credentials = {},
  options: NonNullable<Parameters<typeof gitSource>[1]> = {},
): Promise<OpenedSource> {
  const opened = await openSource(gitSource(url, options), { credentials });
  onTestFinished(() => opened.close());
  return opened;
}

/** Lists, reads, and takes over a change; what it found of each. */
async function follow({ source }: OpenedSource, repository: TestRepository): Promise<unknown> {
  const { signal } = new AbortController();
  const listed = await listAll(source);
  const content = (await readAll(source, listed.file("dir/b"))).toString();
  const to = await repository.commit({ a: String(Math.random()) });
  const probed = (await source.probe(signal))?.revision === to;
  const delta = await source.changes?.(listed.revision as string, to, signal);
  const changed: string[] = [];
  for await (const batch of delta?.changes ?? [])
    for (const change of batch)
      changed.push(change.kind === "put" ? change.entry.path : change.path);
  return { paths: listed.paths, content, probed, changed };
}

const FOLLOWED = { paths: ["a", "dir/b"], content: "2", probed: true, changed: ["a"] };

async function failing(url: string, credentials: Credentials): Promise<unknown> {
  return listAll((await open(url, credentials)).source).then(
    () => expect.unreachable("it was listed"),
    (error: unknown) => error,
  );
}

describeWith("sshd", "git over sshd", (sshd) => {
  let dir = "";
  let repository: TestRepository;
  let url = "";
  const credentials: Credentials = {
    sshKeyFile: sshd.key,
    sshKnownHostsFile: sshd.knownHosts,
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "pannier-git-ssh-"));
    repository = await makeRepository(join(dir, "it's $(a) repository.git"));
    await repository.commit({ a: "1", "dir/b": "2" });
    url = `git+ssh://${sshd.user}@127.0.0.1:${sshd.port}${encodeURI(repository.dir)}`;
    return () => rm(dir, { recursive: true, force: true });
  });

  test("follows a branch", async () => {
    expect(await follow(await open(url, credentials), repository)).toEqual(FOLLOWED);
  });

  test("a key that others may read, as Secrets are mounted, is used from a copy", async () => {
    const key = join(dir, "open-key");
    await copyFile(sshd.key, key);
    await chmod(key, 0o644);
    expect(await follow(await open(url, { ...credentials, sshKeyFile: key }), repository)).toEqual(
      FOLLOWED,
    );
  });

  test("a path of blanks and quotes for key and known hosts", async () => {
    const odd = join(dir, `a "b" 100%d`);
    await mkdir(odd);
    await copyFile(sshd.key, join(odd, "key"));
    await chmod(join(odd, "key"), 0o600);
    await copyFile(sshd.knownHosts, join(odd, "hosts"));
    expect(
      await follow(
        await open(url, { sshKeyFile: join(odd, "key"), sshKnownHostsFile: join(odd, "hosts") }),
        repository,
      ),
    ).toEqual(FOLLOWED);
  });

  test("a stranger's key is auth", async () => {
    expect(await failing(url, { ...credentials, sshKeyFile: sshd.strangerKey })).toMatchObject({
      code: "auth",
      message: expect.stringMatching(/could not sign in/),
    });
  });

  test("an unknown host key is auth, and never accepted", async () => {
    const none = join(dir, "no-hosts");
    await writeFile(none, "");
    expect(await failing(url, { ...credentials, sshKnownHostsFile: none })).toMatchObject({
      code: "auth",
      message: "the server's ssh host key is not in the known hosts file",
    });
    const missing = { ...credentials, sshKnownHostsFile: join(dir, "nowhere") };
    expect(await failing(url, missing)).toMatchObject({ name: "UsageError" });
  });

  test("a missing repository is not found, a closed port unavailable", async () => {
    expect(await failing(`${url}-gone`, credentials)).toMatchObject({ code: "not-found" });
    const closed = url.replace(`:${sshd.port}/`, ":1/");
    expect(await failing(closed, credentials)).toMatchObject({ code: "unavailable" });
  });

  describe.skipIf(process.getuid?.() !== 0 || !existsSync("/usr/bin/setpriv"))(
    "as a user that the system does not know",
    { meta: { skipReason: "needs root and setpriv" } },
    () => {
      let work = "";
      const by = ["setpriv", "--reuid", "1000650000", "--regid", "0", "--clear-groups"];

      beforeAll(async () => {
        work = await mkdtemp(join(tmpdir(), "pannier-no-user-"));
        await chmod(work, 0o777);
        // As Secrets are mounted.
        for (const [from, name] of [
          [sshd.key, "key"],
          [sshd.strangerKey, "stranger"],
          [sshd.knownHosts, "hosts"],
        ] as const) {
          await copyFile(from, join(work, name));
          await chmod(join(work, name), 0o644);
        }
        await writeFile(join(work, "none"), "");
        return () => rm(work, { recursive: true, force: true });
      });

      const run = (source: string, more: Readonly<Record<string, string>> = {}) =>
        runPannier(["sync", source, join(work, "target")], {
          by,
          home: work,
          env: {
            PANNIER_SSH_KEY_FILE: join(work, "key"),
            PANNIER_SSH_KNOWN_HOSTS_FILE: join(work, "hosts"),
            ...more,
          },
        });

      test("a repository is followed", async () => {
        const large = Buffer.alloc(5_000_000, "0123456789abcdef\n");
        for (const a of ["1", "2"]) {
          await repository.commit({ a, large: Buffer.concat([large, Buffer.from(a)]) });
          expect(await run(url)).toMatchObject({ code: 0 });
          expect(await readFile(join(work, "target/current/a"), "utf8")).toBe(a);
        }
        expect(await readFile(join(work, "target/current/large"))).toHaveLength(5_000_001);
        expect(await run(url)).toMatchObject({ code: 0, stderr: "" });
      });

      test("files over sftp are followed", async () => {
        const source = `sftp://${sshd.user}@127.0.0.1:${sshd.port}${encodeURI(join(work, "hosts"))}`;
        const outcome = await runPannier(["sync", source, join(work, "sftp")], {
          by,
          // And without a home.
          env: {
            PANNIER_SSH_KEY_FILE: join(work, "key"),
            PANNIER_SSH_KNOWN_HOSTS_FILE: join(work, "hosts"),
          },
        });
        expect(outcome).toMatchObject({ code: 0 });
      });

      test("what fails is told as by the ssh program", async () => {
        const outcomes = [
          await run(url, { PANNIER_SSH_KEY_FILE: join(work, "stranger") }),
          await run(url, { PANNIER_SSH_KNOWN_HOSTS_FILE: join(work, "none") }),
          await run(`${url}-gone`),
          await run(url.replace(`:${sshd.port}/`, ":1/")),
          await run(url.replace(`${sshd.user}@`, "")),
        ];
        expect(outcomes.map(({ code }) => code)).toEqual([3, 3, 4, 5, 2]);
        const told = outcomes.map(({ stderr }) => stderr);
        expect(told[0]).toContain("did not let us sign in");
        expect(told[1]).toContain("is not in the known hosts file");
        expect(told[2]).toContain("the repository does not exist");
        expect(told[3]).toContain("the connection was refused");
        expect(told[4]).toContain("Write USER@ before the host");
      });
    },
  );

  test("an abort ends ssh and what it talks to", async () => {
    const { source } = await open(url, credentials);
    const abort = new AbortController();
    const reason = new Error("enough");
    const probing = source.probe(abort.signal);
    abort.abort(reason);
    await expect(probing).rejects.toBe(reason);
  });
});

describeWith("git", "git over nginx", (git) => {
  test.each(["cli", "js"] as const)("follows a branch: engine=%s", async (engine) => {
    const repository = await makeRepository(join(git.root, `follow-${engine}.git`));
    await repository.commit({ a: "1", "dir/b": "2" });
    expect(
      await follow(await open(`${git.url}/follow-${engine}.git`, {}, { engine }), repository),
    ).toEqual(FOLLOWED);
  });
});

/** The git adapter over a real sshd, and over nginx in front of git http-backend. */
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { git as gitSource } from "@pannier/adapter-git";
import { listAll, type OpenedSource, openSource, readAll } from "@pannier/adapter-kit";
import type { Credentials } from "@pannier/core";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { makeRepository, type TestRepository } from "../support/git-server.ts";
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
    expect(await failing(url, missing)).toMatchObject({ code: "auth" });
  });

  test("a missing repository is not found, a closed port unavailable", async () => {
    expect(await failing(`${url}-gone`, credentials)).toMatchObject({ code: "not-found" });
    const closed = url.replace(`:${sshd.port}/`, ":1/");
    expect(await failing(closed, credentials)).toMatchObject({ code: "unavailable" });
  });

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

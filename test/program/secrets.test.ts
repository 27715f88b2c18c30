/** A file of credentials that cannot be used is a mistake of whoever configured it, the same with every adapter: exit code 2, at once. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSource } from "@pannier/adapter-kit";
import type { Credentials } from "@pannier/core";
import { afterAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { resolveSources } from "../../packages/cli/src/choose-adapter.ts";
import { runPannier } from "../support/pannier.ts";

const dir = mkdtempSync(join(tmpdir(), "pannier-secrets-"));
afterAll(() => rmSync(dir, { recursive: true }));
const empty = join(dir, "empty");
writeFileSync(empty, "");
const blank = join(dir, "blank");
writeFileSync(blank, "\n");

// Google's library would ask other machines who we are.
vi.stubEnv("METADATA_SERVER_DETECTION", "none");

/** Nobody listens there: files are read before anything is asked. */
const HOST = "127.0.0.1:9";
const AZURE = `az://account/container/?endpoint=http://${HOST}/account`;

type FileOf = (path: string) => Credentials;
const password: FileOf = (passwordFile) => ({ username: "u", passwordFile });
const token: FileOf = (tokenFile) => ({ tokenFile });
const ca: FileOf = (caFile) => ({ caFile });
const cert: FileOf = (clientCertFile) => ({ clientCertFile });
const key: FileOf = (sshKeyFile) => ({ sshKeyFile });
const hosts: FileOf = (sshKnownHostsFile) => ({ sshKnownHostsFile });
const app: FileOf = (privateKeyFile) => ({
  githubApp: { appId: "1", installationId: "2", privateKeyFile, apiUrl: `http://${HOST}` },
});

describe.each<[string, string, FileOf]>([
  [`http://${HOST}/dir/`, "password", password],
  [`http://${HOST}/dir/`, "token", token],
  [`https://${HOST}/dir/`, "CA", ca],
  [`https://${HOST}/dir/`, "client certificate", cert],
  [`dav://${HOST}/dir/`, "password", password],
  [`davs://${HOST}/dir/`, "CA", ca],
  [`s3://bucket/?endpoint=http://${HOST}`, "password", password],
  [AZURE, "password", password],
  [AZURE, "token", token],
  [`gs://bucket/?endpoint=http://${HOST}`, "token", token],
  [`ftp://${HOST}/dir/`, "password", password],
  [`ftps://${HOST}/dir/`, "CA", ca],
  [`ftp://${HOST}/dir/?tls=explicit`, "client certificate", cert],
  [`sftp://u@${HOST}/dir/`, "password", password],
  [`sftp://u@${HOST}/dir/`, "ssh key", key],
  [`sftp://u@${HOST}/dir/`, "known hosts", hosts],
  [`smb://${HOST}/share/`, "password", password],
  [`git+http://${HOST}/repo.git`, "password", password],
  [`git+http://${HOST}/repo.git`, "token", token],
  [`git+https://${HOST}/repo.git`, "CA", ca],
  [`git+http://${HOST}/repo.git`, "GitHub App's key", app],
  [`git+ssh://u@${HOST}/repo.git`, "ssh key", key],
  [`git+ssh://u@${HOST}/repo.git`, "known hosts", hosts],
])("%s: the %s file", (url, what, credentialsOf) => {
  const mayBeEmpty = what === "known hosts";
  test.each<readonly [string, string, string]>([
    ["is missing", join(dir, "missing"), "cannot be read (ENOENT)"],
    ["is a directory", dir, "cannot be read (EISDIR)"],
    ...(mayBeEmpty
      ? []
      : ([
          ["is empty", empty, "is empty"],
          ["holds a line end only", blank, ""],
        ] as const)),
  ])("%s", async (_, path, why) => {
    const [spec] = await resolveSources([url], { cwd: dir });
    if (spec === undefined) throw new Error("no source");
    const opened = await openSource(spec, { credentials: credentialsOf(path), idleTimeout: 2000 });
    onTestFinished(() => opened.close());
    const { signal } = new AbortController();
    const listing = async () => {
      const { entries } = await opened.source.list(signal);
      for await (const batch of entries) expect(batch).toEqual([]);
    };
    const error: unknown = await listing().catch((reason: unknown) => reason);
    // By the way in which an ssh key that is no key is told.
    if (path === blank && what === "ssh key") return;
    expect(error).toMatchObject({ name: "UsageError", message: expect.stringContaining(path) });
    expect((error as Error).message).toContain(why);
  });
});

test.each([
  ["ftp", { PANNIER_USERNAME: "u", PANNIER_PASSWORD_FILE: "/nowhere/secret" }],
  ["ftps", { PANNIER_CA_FILE: "/nowhere/secret" }],
  ["sftp", { PANNIER_USERNAME: "u", PANNIER_PASSWORD_FILE: "/nowhere/secret" }],
  ["smb", { PANNIER_USERNAME: "u", PANNIER_PASSWORD_FILE: "/nowhere/secret" }],
])("the program ends at once with 2: %s", async (scheme, env) => {
  const { code, stderr } = await runPannier(
    ["sync", `${scheme}://${HOST}/share/`, join(dir, "target")],
    { env },
  );
  expect(stderr).toMatch(/file \/nowhere\/secret cannot be read \(ENOENT\)\. Check its path/);
  expect(stderr).not.toMatch(/attempt/);
  expect(code).toBe(2);
});

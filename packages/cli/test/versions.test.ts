/** What object stores call the version of an object, as `ls` and `plan` show it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { ACCOUNT, makeBlob, openBlobServer } from "../../adapter-azure/test/blob-server.ts";
import { startGcsServer } from "../../adapter-gcs/test/gcs-server.ts";
import { startS3Server } from "../../adapter-s3/test/s3-server.ts";
import { run } from "./run.ts";

let target: string;

beforeEach(async () => {
  const folder = await mkdtemp(join(tmpdir(), "pannier-test-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  target = join(folder, "new");
  for (const name of Object.keys(process.env))
    if (/^(AWS|AZURE|IDENTITY|STORAGE)_/.test(name)) vi.stubEnv(name, undefined);
});

afterEach(() => void vi.unstubAllEnvs());

test("ls and plan show ETags of Azure", async () => {
  const server = await openBlobServer();
  onTestFinished(() => server.close());
  server.accepted.anonymous = true;
  server.containers.set("box", new Map([["a", makeBlob("1", { etag: "0x1" })]]));
  const url = `az://${ACCOUNT}/box/?anonymous=true&endpoint=${server.endpoint}`;
  const listed = await run(["ls", url, "--json"]);
  expect(JSON.parse(listed.stdout)).toMatchObject({ path: "a", version: "0x1" });
  const planned = await run(["plan", url, target]);
  expect(planned.stdout).toContain("a  (version 0x1)\n");
});

test("ls and plan show versions of S3 where they are listed", async () => {
  const server = await startS3Server();
  onTestFinished(() => server.close());
  server.createBucket("bucket");
  server.put("bucket", "a", Buffer.from("A"));
  const url = `s3://bucket/?anonymous=true&endpoint=http://127.0.0.1:${server.port}`;
  const listed = await run(["ls", `${url}&versions=true`, "--json"]);
  expect(JSON.parse(listed.stdout)).toMatchObject({ path: "a", version: "v1" });
  const planned = await run(["plan", `${url}&versions=true`, target]);
  expect(planned.stdout).toContain("a  (version v1)\n");
  expect((await run(["plan", url, target])).stdout).toContain("a\n");
});

test("ls and plan show generations of Google Cloud Storage", async () => {
  const server = await startGcsServer();
  onTestFinished(() => server.close());
  server.createBucket("bucket");
  server.put("bucket", "file", "content");
  const url = `gs://bucket/?anonymous=true&endpoint=${server.endpoint}`;
  const listed = await run(["ls", url, "--json"]);
  const { path, version } = JSON.parse(listed.stdout) as { path: string; version: string };
  expect({ path, version }).toEqual({ path: "file", version: expect.stringMatching(/^\d+$/) });
  const planned = await run(["plan", url, target, "--json"]);
  expect(JSON.parse(planned.stdout)).toMatchObject({ changes: [{ path: "file", version }] });
  const text = await run(["plan", url, target]);
  expect(text.stdout).toContain(`file  (version ${version})\n`);
});

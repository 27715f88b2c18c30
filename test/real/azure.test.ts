/** The azure adapter against Azurite, directly and through the fault proxy. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { azure, azureAdapter } from "@pannier/adapter-azure";
import {
  createFaultProxy,
  describeAdapter,
  type FaultProxy,
  listAll,
  openSource,
} from "@pannier/adapter-kit";
import { comparePaths, sync } from "@pannier/core";
import * as vitest from "vitest";
import { expect, onTestFinished, test } from "vitest";
import { sasFor, sdkClient } from "../../packages/adapter-azure/test/sdk-client.ts";
import { createStore } from "../../packages/adapter-azure/test/stores.ts";
import { describeFailingLine } from "./object-store.ts";
import { describeWith } from "./support.ts";

const WRONG = Buffer.from("a key that nobody may see").toString("base64");

async function target(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "pannier-azurite-"));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return made;
}

describeWith("azure", "Azure Blob Storage from Azurite", (azurite) => {
  const { account, endpoint, key, port } = azurite;
  const client = sdkClient(azurite);
  const credentials = { password: key };
  const harness = {
    adapter: azureAdapter as never,
    traits: {
      symlinks: false,
      modes: "none",
      network: "http",
      // It takes a backslash for a slash.
      holds: (path: string) => !path.includes("\\"),
    },
    secrets: [key, WRONG],
  } as const;

  vitest.describe("directly", () => {
    describeAdapter(vitest, {
      ...harness,
      failures: {
        auth: (store) => ({ ...store.source({}), credentials: { password: WRONG } }),
        "not-found": (store) => ({ ...store.source({}), url: `az://${account}/no-such-one/` }),
      },
      create: createStore(() => client, { credentials }),
    });
  });

  vitest.describe("through the fault proxy", () => {
    let proxy: FaultProxy;
    vitest.beforeAll(async () => {
      proxy = await createFaultProxy({ target: { host: "127.0.0.1", port } });
      await proxy.set({ delay: 1 });
      return () => proxy.close();
    });
    const create = createStore(() => ({ ...client, port: proxy.port }), { credentials });
    describeAdapter(vitest, { ...harness, create }, { largeFile: 16 << 20, manyFiles: 600 });
  });

  describeFailingLine({ ...harness, create: createStore(() => client, { credentials }) });

  async function fill(container: string, blobs: Readonly<Record<string, string>>): Promise<string> {
    await client.createBucket(container);
    const left = Object.entries(blobs).values();
    const worker = async () => {
      for (const [name, content] of left) await client.put(container, name, Buffer.from(content));
    };
    await Promise.all(Array.from({ length: 16 }, worker));
    return `az://${account}/${container}/`;
  }

  test("names of several pages come once each, and in order", async () => {
    const names = Array.from({ length: 10_600 }, (_, index) =>
      index < 10_400 ? `d${index % 7}/${index}` : `${index % 2 ? "😀" : "～"}${index}`,
    );
    const url = await fill("many-pages", Object.fromEntries(names.map((name) => [name, ""])));
    const opened = await openSource(azure(url, { endpoint }), { credentials });
    onTestFinished(() => opened.close());
    const { paths } = await listAll(opened.source);
    expect(paths).toEqual(names.toSorted(comparePaths));
    // One after the other it would be three pages, and before them the question where a listing can begin.
    expect(opened.requests.length).toBeGreaterThan(4);
  });

  test("odd keys are files, left out, or refused; none leads out of the target", async () => {
    const url = await fill("odd-keys", {
      "a//b": "no",
      "dir/": "",
      "dir/x": "1",
      "full/": "no",
      " blank ": "2",
      "tab\there": "3",
      "carriage\rreturn": "4",
      "%2e%2e": "5",
      "50%": "6",
      "a?b#c&d=e+f": "7",
      [`${"k".repeat(255)}/${"l".repeat(255)}`]: "8",
    });
    const warnings: string[] = [];
    const into = await target();
    const source = azure(url, { endpoint });
    await sync({
      sources: [source],
      target: into,
      credentials,
      onEvent: (event) => {
        if (event.type === "warning") warnings.push(event.message);
      },
    });
    const found = await readdir(join(into, "current"), { recursive: true, withFileTypes: true });
    const files = found.filter((entry) => entry.isFile()).map(({ name }) => name);
    expect(files.toSorted()).toEqual(
      [
        "x",
        " blank ",
        "tab\there",
        "carriage\rreturn",
        "%2e%2e",
        "50%",
        "a?b#c&d=e+f",
        "l".repeat(255),
      ].toSorted(),
    );
    expect(warnings.join()).toMatch(/a\/\/b.*full\//);
    await client.put("odd-keys", "dir", Buffer.from("both a blob and a prefix"));
    await expect(sync({ sources: [source], target: into, credentials })).rejects.toThrow(/dir/);
    await client.remove("odd-keys", "dir");
    await client.put("odd-keys", "/lead", Buffer.from("no"));
    await expect(sync({ sources: [source], target: into, credentials })).rejects.toThrow(/lead/);
    expect(await readFile(join(into, "current/dir/x"), "utf8")).toBe("1");
  });

  test("a poll with a marker is one question of the SDK's, by connection string too", async () => {
    const { signal } = new AbortController();
    const marker = "the marker, ü+&";
    const url = await fill("marked", { "site/a": "1", [`site/${marker}`]: "1" });
    const text = `AccountName=${account};AccountKey=${key};BlobEndpoint=${endpoint}`;
    vitest.vi.stubEnv("AZURE_STORAGE_CONNECTION_STRING", text);
    onTestFinished(() => void vitest.vi.unstubAllEnvs());
    const { source, requests, close } = await openSource(azure(`${url}site/`, { marker }));
    onTestFinished(() => close());
    expect(await source.identity?.(signal)).toBe("the key in AZURE_STORAGE_CONNECTION_STRING");
    const first = await source.probe(signal);
    expect(await source.probe(signal)).toEqual(first);
    await client.put("marked", `site/${marker}`, Buffer.from("2"));
    expect((await source.probe(signal))?.token).not.toBe(first?.token);
    expect(requests).toEqual(["probe", "probe", "probe"]);
  });

  test("a SAS lists and reads, and one that may only read is refused", async () => {
    const url = await fill("by-sas", { a: "1" });
    for (const [permissions, outcome] of [
      ["rl", "1"],
      ["r", "auth"],
    ] as const) {
      vitest.vi.stubEnv("AZURE_STORAGE_SAS_TOKEN", sasFor(azurite, "by-sas", permissions));
      const into = await target();
      const synced = sync({ sources: [azure(url, { endpoint })], target: into }).then(
        () => readFile(join(into, "current/a"), "utf8"),
        (error: { readonly cause?: { readonly code?: unknown } }) => error.cause?.code,
      );
      expect(await synced).toBe(outcome);
    }
    vitest.vi.unstubAllEnvs();
  });

  test("content that was damaged on the way is fetched again, or refused", async () => {
    const content = "0123456789".repeat(100);
    const url = await fill("damaged", { a: content });
    const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port } });
    onTestFinished(() => proxy.close());
    const through = endpoint.replace(`:${port}/`, `:${proxy.port}/`);
    const opened = await openSource(azure(url, { endpoint: through }), { credentials });
    onTestFinished(() => opened.close());
    await listAll(opened.source);
    for (let at = 500; at < 3000; at += 250) {
      await proxy.set({ corruptAt: at, times: 1 });
      const into = await target();
      const synced = sync({
        sources: [azure(url, { endpoint: through })],
        target: into,
        credentials,
      });
      const outcome = await synced.then(
        () => readFile(join(into, "current/a"), "utf8"),
        () => content,
      );
      expect(outcome).toBe(content);
    }
  });
});

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { file } from "@pannier/adapter-file";
import { expect, onTestFinished, test, vi } from "vitest";
import { startService } from "./service.ts";

test("serves the rules, and new ones while it runs", async () => {
  const folder = await mkdtemp(join(tmpdir(), "pannier-embedding-"));
  const source = join(folder, "rules");
  const stopping = new AbortController();
  await mkdir(source);
  await writeFile(join(source, "rules.json"), '{"limit":1}');
  const { server, done } = startService(file(source), join(folder, "target"), stopping.signal);
  onTestFinished(async () => {
    stopping.abort();
    server.close();
    server.closeAllConnections();
    await done;
    await rm(folder, { recursive: true });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const ask = async () =>
    (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)).json();

  await vi.waitFor(
    async () => expect(await ask()).toMatchObject({ content: { limit: 1 } }),
    10_000,
  );
  await writeFile(join(source, "rules.json"), '{"limit":22}');
  await vi.waitFor(
    async () => expect(await ask()).toMatchObject({ content: { limit: 22 } }),
    10_000,
  );
});

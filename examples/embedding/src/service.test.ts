import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { file } from "@pannier/adapter-file";
import { expect, onTestFinished, test, vi } from "vitest";
import { createService } from "./service.ts";

async function startService() {
  const folder = await mkdtemp(join(tmpdir(), "pannier-embedding-"));
  const rules = join(folder, "rules");
  await mkdir(rules);
  const service = createService(file(rules), join(folder, "target"));
  onTestFinished(async () => {
    await service.close();
    await rm(folder, { recursive: true });
  });
  const write = (text: string) => writeFile(join(rules, "rules.json"), text);
  const address = () => service.listen({ port: 0, host: "127.0.0.1" });
  return { service, write, address };
}

test("serves the rules, and new ones while it runs", async () => {
  const { write, address } = await startService();
  await write('{"limit":1}');
  const url = await address();
  const shows = (content: object) =>
    vi.waitFor(
      async () => expect(await (await fetch(url)).json()).toMatchObject({ content }),
      30_000,
    );
  await shows({ limit: 1 });
  await write('{"limit":22}');
  await shows({ limit: 22 });
});

test("ends with rules that nobody can read", async () => {
  const { service, write, address } = await startService();
  const said = vi.spyOn(console, "error").mockImplementation(() => {});
  onTestFinished(() => said.mockRestore());
  await write("{");
  await address();
  await vi.waitFor(() => expect(service.server.listening).toBe(false), 30_000);
  expect(said).toHaveBeenCalledWith(expect.any(SyntaxError));
});

/** A watch that is dead without a word, in minutes that pass at once: in a file of its own, since timers of undici outlive a test. */
import { listAll, openSource } from "@pannier/adapter-kit";
import { afterAll, expect, onTestFinished, test, vi } from "vitest";
import { k8s } from "../src/index.ts";
import { startApiServer } from "./api-server.ts";
import { countHints } from "./hints.ts";
import { kubeconfigFor } from "./stores.ts";

vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
const server = await startApiServer();
afterAll(() => server.close());

/** What comes in between is read. */
async function passes(seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    vi.advanceTimersByTime(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const put = (text: string) =>
  server.put("configmaps", { metadata: { namespace: "web", name: "a" }, data: { b: text } });

test("a watch begins again after 150 silent seconds, and asks what it missed", async () => {
  put("0");
  const kubeconfig = kubeconfigFor(server.port, { token: "any" });
  const { source, requests } = await openSource(k8s("k8s://web/configmaps", { kubeconfig }));
  onTestFinished(() => source.close());
  await listAll(source);
  const hints = countHints(source);
  await expect.poll(() => server.watches).toBe(1);
  server.mute = true;
  put("1");
  await passes(145);
  expect([server.watches, hints()]).toEqual([1, 0]);
  expect(requests).toEqual(["list", "watch"]);
  server.mute = false;
  await passes(10);
  await expect.poll(() => requests).toEqual(["list", "watch", "watch"]);
  await expect.poll(hints).toBe(1);
});

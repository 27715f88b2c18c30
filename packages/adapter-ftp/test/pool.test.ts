/** Who waits for a connection gets one, whatever becomes of those who waited before. */
import { parseLocation } from "@pannier/core";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { createPool } from "../src/pool.ts";
import { startScripted } from "./scripted-server.ts";

test("one that is woken and has just given up leaves the connection to the next", async () => {
  let signedIn = 0;
  const { port } = await startScripted({
    PASS: () => (++signedIn === 1 ? "230 in" : "421 too many connections"),
  });
  const pool = createPool({
    location: parseLocation(`ftp://u:p@127.0.0.1:${port}/`),
    tls: "off",
    credentials: {},
    env: {},
    idleTimeout: 5000,
  });
  onTestFinished(() => pool.close());
  const { signal } = new AbortController();
  const { release } = await pool.take(signal);
  const leaving = new AbortController();
  const first = pool.take(leaving.signal);
  await expect.poll(() => signedIn).toBe(2);
  await sleep(50);
  const second = pool.take(signal);
  release();
  leaving.abort();
  await expect(first).rejects.toThrow("aborted");
  const got = await Promise.race([second, sleep(1000)]);
  expect(got).toBeDefined();
});

import type { TestProject } from "vitest/node";
import { startServers } from "./start.ts";

/** Starts the servers before the tests of this folder, and stops them after the last one. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { servers, stop } = await startServers();
  project.provide("servers", servers);
  return stop;
}

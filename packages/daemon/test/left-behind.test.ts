import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { expect, it, onTestFinished } from "vitest";
import { endLeftBehind, listProcesses, MARK } from "../src/hooks/left-behind.ts";

async function startMarked(mark: string): Promise<ChildProcess> {
  const env = { PATH: process.env["PATH"], [MARK]: mark };
  // In a session of its own, as a process group's end would not reach it.
  const child = spawn("sleep", ["1000"], { env, detached: true, stdio: "ignore" });
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child, "spawn");
  return child;
}

it("ends what came since the hook began and has its mark, and looks at nothing else", async () => {
  const earlier = await startMarked("one");
  const before = await listProcesses();
  expect(before).toContain(String(process.pid));
  const later = await startMarked("one");
  const other = await startMarked("two");
  const ended = once(later, "exit");
  await endLeftBehind("one", before);
  expect(await ended).toEqual([null, "SIGKILL"]);
  for (const child of [earlier, other]) expect(child.exitCode ?? child.signalCode).toBeNull();
});

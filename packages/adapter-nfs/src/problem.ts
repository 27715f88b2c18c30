/** Failures with the words for the other process. */
import { readFileSync } from "node:fs";
import type { Problem } from "./protocol.ts";

/** A failure with the words for the other process. */
export class NfsProblem extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.text);
    this.problem = problem;
  }
}

export function failed(step: Problem["step"], errno: number, text = ""): NfsProblem {
  return new NfsProblem({ step, errno, text, privileged: mayUseLowPorts() });
}

/** Whether this process may use ports below 1024, which libnfs then does. */
function mayUseLowPorts(): boolean {
  const CAP_NET_BIND_SERVICE = 10n;
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"));
  return ((BigInt(`0x${capabilities?.[1] ?? "0"}`) >> CAP_NET_BIND_SERVICE) & 1n) === 1n;
}

/** Measuring whole processes, side by side. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What one process, with all that it started and waited for, took. */
interface Cost {
  /** Seconds. */
  readonly wall: number;
  /** Seconds of the processors, user and system. */
  readonly cpu: number;
  /** Peak resident memory of the largest process, in MiB. */
  readonly memory: number;
}

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** GNU time asks the kernel (`wait4`), which Node does not for its children. */
const TIME = "/usr/bin/time";

/** Runs a command to its end. @throws when it fails */
async function measure({ program, args, env = {} }: Command): Promise<Cost> {
  if (!existsSync(TIME)) throw new Error(`${TIME} is missing: install the package time`);
  const directory = await mkdtemp(join(tmpdir(), "pannier-measure-"));
  const report = join(directory, "time");
  try {
    const start = performance.now();
    const child = spawn(TIME, ["-q", "-o", report, "-f", "%U %S %M", program, ...args], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const [code] = await once(child, "close");
    const wall = (performance.now() - start) / 1000;
    if (code !== 0)
      throw new Error(`${program} ${args.join(" ")} ended with ${code}: ${stderr.slice(-2000)}`);
    const fields = (await readFile(report, "utf8")).trim().split("\n").at(-1) as string;
    const [user, system, kibibytes] = fields.split(" ").map(Number) as [number, number, number];
    return { wall, cpu: user + system, memory: kibibytes / 1024 };
  } finally {
    await rm(directory, { recursive: true });
  }
}

export interface Contestant {
  readonly name: string;
  /** Makes ready for one run; not measured. */
  readonly prepare?: () => Promise<void>;
  readonly command: Command;
  /** Throws when the run did not do what it should have. */
  readonly check?: () => Promise<void>;
}

export interface Result {
  readonly name: string;
  readonly costs: readonly Cost[];
}

/**
 * Runs each contestant so many times, alternating, after rounds that do not count.
 *
 * @param before what each round begins with (a change to be followed)
 */
export async function compete(
  contestants: readonly Contestant[],
  rounds: number,
  before: () => Promise<void> = async () => {},
  warmUps = 1,
): Promise<Result[]> {
  const costs = contestants.map((): Cost[] => []);
  for (let round = 1 - warmUps; round <= rounds; round++) {
    await before();
    // Who goes first changes from round to round.
    const order = contestants.map((_, index) => (index + round + warmUps) % contestants.length);
    for (const index of order) {
      const { name, prepare, command, check } = contestants[index] as Contestant;
      await prepare?.();
      const cost = await measure(command);
      await check?.();
      if (round > 0) costs[index]?.push(cost);
      const { wall, cpu, memory } = cost;
      process.stderr.write(
        `  ${round < 1 ? "warm-up" : `${round}/${rounds}`} ${name}: ${wall.toFixed(3)} s, ${cpu.toFixed(2)} s of processor, ${memory.toFixed(0)} MiB\n`,
      );
    }
  }
  return contestants.map(({ name }, index) => ({ name, costs: costs[index] as Cost[] }));
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** A table of results, each as a ratio to the last one: the peer. */
export function table(results: readonly Result[]): string {
  const peer = results.at(-1) as Result;
  const rows = results.map(({ name, costs }) => {
    const of = (key: keyof Cost) => costs.map((cost) => cost[key]);
    const wall = of("wall");
    const ratio = (key: keyof Cost) =>
      (median(of(key)) / median(peer.costs.map((cost) => cost[key]))).toFixed(2);
    return [
      name,
      [Math.min(...wall), median(wall), Math.max(...wall)].map(format).join(" / "),
      ratio("wall"),
      format(median(of("cpu"))),
      ratio("cpu"),
      median(of("memory")).toFixed(0),
      ratio("memory"),
    ];
  });
  const header = [
    "",
    "wall s (min / median / max)",
    "ratio",
    "CPU s",
    "ratio",
    "peak MiB",
    "ratio",
  ];
  return markdown(header, rows);
}

const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;

export function markdown(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const rule = header.map((_, index) => (index === 0 ? "---" : "---:"));
  return [line(header), line(rule), ...rows.map(line)].join("\n");
}

function format(seconds: number): string {
  return seconds < 1 ? seconds.toFixed(3) : seconds.toFixed(2);
}

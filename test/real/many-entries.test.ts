/** A hundred thousand files on a server, listed by the program in little memory. */
import { mkdirSync, linkSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startPannier } from "../support/pannier.ts";
import { describeWith } from "./support.ts";

const FULL = process.env["PANNIER_SCALE"] === "full";
const ENTRIES = FULL ? 100_000 : 2000;
/** File systems allow a file some 65,000 links. */
const LINKS = 50_000;

/** For a machine that has much else to do. */
const PATIENCE = 300_000;

// Two adapters, each with a way of its own of reading a directory, on one tree: making it takes as long as listing it.
describeWith("nfs", "over NFS", (nfs) =>
  describeWith("sftp", "and SFTP", (sftp) => {
    const hostKey = encodeURIComponent(sftp.fingerprint);
    const user = encodeURIComponent(sftp.user);
    const urls = {
      nfs: (path: string) => `nfs://127.0.0.1:${nfs.port}${encoded(path)}`,
      sftp: (path: string) =>
        `sftp://${user}@127.0.0.1:${sftp.port}${encoded(path)}?hostKey=${hostKey}`,
    };
    let root = "";
    beforeAll(async () => {
      root = await mkdtemp(join(nfs.root, "many-"));
      await chmod(root, 0o755);
      makeFiles(join(root, "spread"), 100);
      makeFiles(join(root, "together"), ENTRIES);
    }, PATIENCE);
    afterAll(() => rm(root, { recursive: true }), PATIENCE);

    test.each([
      // Too little for all the names, were they held.
      ["nfs", "spread", 40],
      ["sftp", "spread", 40],
      // Those of one directory are held, as docs/operations.md says.
      ["sftp", "together", 80],
    ] as const)("%s, %s, in %i MB of heap", { timeout: PATIENCE }, async (adapter, how, heap) => {
      const { lines, peaks } = await list(urls[adapter](join(root, how)), heap, sftp.key);
      expect(new Set(lines).size).toBe(ENTRIES);
      // In megabytes, of the program and of a helper; both have some 100 before they begin.
      expect(Math.max(...peaks)).toBeLessThan(256);
      expect(peaks.length, "processes").toBeGreaterThanOrEqual(adapter === "nfs" ? 2 : 1);
    });
  }),
);

function encoded(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

/** Links to a few files, which are made more quickly than files. */
function makeFiles(root: string, inEach: number): void {
  for (let number = 0; number < ENTRIES; number++) {
    const directory = join(root, `directory ${Math.floor(number / inEach)}`);
    if (number % inEach === 0) mkdirSync(directory, { recursive: true });
    const original = `${root} ${Math.floor(number / LINKS)}`;
    if (number % LINKS === 0) writeFileSync(original, "");
    linkSync(original, join(directory, `file ${number}.txt`));
  }
}

/** @param heap in megabytes, of the program */
async function list(url: string, heap: number, key: string) {
  const env = { NODE_OPTIONS: `--max-old-space-size=${heap}`, PANNIER_SSH_KEY_FILE: key };
  const { child, ended } = startPannier(["ls", url], { env });
  const peaks = new Map<number, number>();
  const watching = setInterval(() => {
    for (const pid of processesBelow(child.pid as number)) {
      const peak = peakOf(pid);
      if (peak !== undefined) peaks.set(pid, peak);
    }
  }, 50);
  const { stdout, stderr } = await ended.finally(() => clearInterval(watching));
  expect(stderr).toBe("");
  return { lines: stdout.trimEnd().split("\n"), peaks: [...peaks.values()] };
}

/** A process with its children and theirs: proc_pid_task(5). */
function processesBelow(pid: number): number[] {
  let children: string;
  try {
    children = readdirSync(`/proc/${pid}/task`)
      .map((task) => readFileSync(`/proc/${pid}/task/${task}/children`, "utf8"))
      .join("");
  } catch {
    return [];
  }
  return [
    pid,
    ...children
      .trim()
      .split(/\s+/)
      .filter(Boolean)
      .flatMap((text) => processesBelow(Number(text))),
  ];
}

/** The most memory that a process ever had, in megabytes; `undefined` for one that has ended. */
function peakOf(pid: number): number | undefined {
  try {
    const [, kilobytes] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return kilobytes === undefined ? undefined : Math.round(Number(kilobytes) / 1024);
  } catch {
    return undefined;
  }
}

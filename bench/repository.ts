/** Synthetic content, the same for the same seed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { seededRandom } from "../test/support/random.ts";

const WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu".split(" ");

/** Text of about 2 KB, like source code and documents: it compresses to a third or so. */
function makeText(random: () => number): string {
  const lines: string[] = [];
  for (let size = 1000 + random() * 2000; size > 0; size -= 40) {
    const words = Array.from({ length: 5 }, () => WORDS[Math.floor(random() * WORDS.length)]);
    lines.push(`${words.join(" ")} ${Math.floor(random() * 1e6)}`);
  }
  return `${lines.join("\n")}\n`;
}

/** A hundred files a directory, ten directories a directory. */
export function filePath(index: number): string {
  const directory = Math.floor(index / 100);
  return `area-${Math.floor(directory / 10)}/part-${directory % 10}/file-${index}.txt`;
}

export interface Repository {
  readonly path: string;
  /** A commit that changes one file; its revision, and the path and content changed. */
  commitChange(): Promise<{ path: string; content: string }>;
}

type Commit = (changes: Iterable<readonly [path: string, content: string]>) => Promise<void>;

/** An empty bare repository. @returns what adds a commit to its `main` */
export async function initRepository(path: string): Promise<Commit> {
  await ended(spawn("git", ["init", "-q", "--bare", "-b", "main", path], { stdio: "inherit" }));
  let commits = 0;
  return async (changes) => {
    const git = spawn("git", ["-C", path, "fast-import", "--quiet"], {
      stdio: ["pipe", "ignore", "inherit"],
    });
    const parent = commits === 0 ? "" : "from refs/heads/main^0\n";
    const time = 1_700_000_000 + commits++ * 60;
    const header = `commit refs/heads/main\ncommitter Bench <bench@example.org> ${time} +0000\n`;
    git.stdin.write(`${header}data 6\nchange\n${parent}`);
    for (const [name, content] of changes) {
      const size = Buffer.byteLength(content);
      if (!git.stdin.write(`M 100644 inline ${name}\ndata ${size}\n${content}\n`))
        await once(git.stdin, "drain");
    }
    git.stdin.end();
    await ended(git);
  };
}

/** A bare repository with a `main` of one commit of so many files. */
export async function makeRepository(path: string, files: number): Promise<Repository> {
  const random = seededRandom(files);
  const commit = await initRepository(path);
  await commit(allFiles(files, random));
  return {
    path,
    async commitChange() {
      const change = {
        path: filePath(Math.floor(random() * files)),
        content: makeText(random),
      };
      await commit([[change.path, change.content]]);
      return change;
    },
  };
}

function* allFiles(count: number, random: () => number): Iterable<readonly [string, string]> {
  for (let index = 0; index < count; index++) yield [filePath(index), makeText(random)];
}

/** A directory of so many small files. */
export function makeFiles(root: string, count: number): void {
  for (let index = 0; index < count; index++) {
    const path = join(root, filePath(index));
    if (index % 100 === 0) mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `content of file ${index}\n`);
  }
}

async function ended(child: ReturnType<typeof spawn>): Promise<void> {
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`${child.spawnargs.join(" ")} ended with ${code}`);
}

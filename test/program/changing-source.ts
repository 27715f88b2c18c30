/** A directory that changes at random, the same way for the same random numbers, and what a copy of it must hold. */
import { createHash } from "node:crypto";
import { chmod, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Tree } from "../support/tree.ts";

interface File {
  readonly content: Buffer;
  readonly exec: boolean;
}

export class ChangingSource {
  readonly path: string;
  readonly #random: () => number;
  readonly #files = new Map<string, File | string>();
  #names = 0;

  constructor(path: string, random: () => number) {
    this.path = path;
    this.#random = random;
  }

  /** What is in the directory now. */
  tree(): Tree {
    const tree = new Map<string, string>();
    for (const [path, file] of this.#files) {
      if (typeof file === "string") tree.set(path, `link ${file}`);
      else {
        const digest = createHash("sha256").update(file.content).digest("hex");
        tree.set(path, `${file.exec ? "exec" : "file"} ${digest}`);
      }
    }
    return tree;
  }

  async grow(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.#add();
  }

  /** Permissions of a file; nothing is done to a symlink. */
  async setMode(path: string, mode: number): Promise<void> {
    const file = this.#files.get(path);
    if (file === undefined || typeof file === "string") return;
    await chmod(join(this.path, path), mode);
    this.#files.set(path, { ...file, exec: (mode & 0o100) !== 0 });
  }

  async change(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const paths = [...this.#files.keys()];
      const path = paths[this.#below(paths.length)] as string;
      const dice = this.#random();
      if (dice < 0.5) await this.#put(path, this.#file());
      else if (dice < 0.6) await this.#put(path, "elsewhere");
      else if (dice < 0.8) await this.#add();
      else await this.#remove(path);
    }
  }

  #add(): Promise<void> {
    const depth = this.#below(4);
    const directories = Array.from({ length: depth }, () => `dir-${this.#below(4)}`);
    return this.#put([...directories, `file-${this.#names++}`].join("/"), this.#file());
  }

  #file(): File {
    // Mostly small, sometimes large enough to be cut in the middle.
    const size = this.#random() < 0.9 ? this.#below(8_000) : this.#below(1_000_000);
    return { content: Buffer.alloc(size, `${this.#random()}\n`), exec: this.#random() < 0.2 };
  }

  async #put(path: string, file: File | string): Promise<void> {
    const full = join(this.path, path);
    await rm(full, { force: true });
    await mkdir(dirname(full), { recursive: true });
    if (typeof file === "string") await symlink(file, full);
    else {
      await writeFile(full, file.content);
      await chmod(full, file.exec ? 0o755 : 0o644);
    }
    this.#files.set(path, file);
  }

  async #remove(path: string): Promise<void> {
    await rm(join(this.path, path));
    this.#files.delete(path);
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}

/** How large the object cache is, and what happens where git fails at keeping it small. Here for its size: hundreds of megabytes go through git. */
import { randomBytes } from "node:crypto";
import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { listAll, readAll } from "@pannier/adapter-kit";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  changesOf,
  errorOf,
  open,
  scratchDirectory,
  setup,
  signal,
  skipped,
  withoutGit,
} from "../../packages/adapter-git/test/setup.ts";

const shared = setup();
const MIB = 1024 * 1024;

/** A repository of 8 files of 3 MiB, which can be replaced, and a source of it. */
async function large() {
  const repository = await shared.repository();
  const scratch = await scratchDirectory();
  const put = (names: readonly number[]) =>
    repository.commit(
      Object.fromEntries(names.map((name) => [`file-${name}`, randomBytes(3 * MIB)])),
    );
  const first = await put([0, 1, 2, 3, 4, 5, 6, 7]);
  const opened = await open(repository.url, { engine: "cli" }, { scratch: async () => scratch });
  await listAll(opened.source);
  const packs = join(scratch, "repository/objects/pack");
  const size = async () => {
    const sizes = (await readdir(packs)).map(async (name) => (await stat(join(packs, name))).size);
    return (await Promise.all(sizes)).reduce((sum, each) => sum + each, 0) / MIB;
  };
  return { ...opened, put, first, size };
}

/** Puts a program before git on the path: a shell script, in which `"$@"` are git's arguments. It does nothing until it is armed. */
async function instead(script: string) {
  const dir = await scratchDirectory();
  const path = process.env["PATH"];
  const [log, armed] = [join(dir, "log"), join(dir, "armed")];
  const program = `#!/bin/sh\nlog=${log}\nPATH='${path}'\n[ -e ${armed} ] && ${script}\nexec git "$@"\n`;
  await writeFile(join(dir, "git"), program);
  await chmod(join(dir, "git"), 0o755);
  process.env["PATH"] = `${dir}${delimiter}${path}`;
  onTestFinished(() => void (process.env["PATH"] = path));
  return { log, arm: () => writeFile(armed, "") };
}

describe.skipIf(withoutGit)(`the object cache${skipped}`, () => {
  test("holds one commit after each publish, whatever came before", async () => {
    const { source, put, first, size, warnings } = await large();
    let from = first;
    await source.published?.(signal());
    expect(await size()).toBeLessThan(25);
    for (const names of [
      [0, 1, 2],
      [3, 4, 5, 6, 7],
      [0, 1, 2, 3, 4, 5, 6, 7],
    ]) {
      const to = await put(names);
      const changed = await changesOf(source, from, to);
      expect(Object.keys(changed ?? {})).toHaveLength(names.length);
      await source.published?.(signal());
      // A quarter and 16 MiB.
      expect(await size()).toBeLessThan(24 * 1.25 + 17);
      const { file } = await listAll(source);
      expect(await readAll(source, file("file-7"))).toHaveLength(3 * MIB);
      from = to;
    }
    expect(warnings).toEqual([]);
  });

  test("holds little where nothing can be published", async () => {
    const { source, put, size } = await large();
    await source.published?.(signal());
    for (let i = 0; i < 2; i++) {
      await put([0, 1, 2, 3, 4, 5, 6, 7]);
      await listAll(source);
      expect(await size()).toBeLessThan(24 * 2.25 + 17);
    }
  });

  test("is kept, grows and says so where git cannot make it smaller; that is not tried again at once", async () => {
    const { log, arm } = await instead(
      'case " $* " in *" repack "*) echo repack >> $log; touch "$GIT_DIR/objects/pack/tmp_pack_half"; kill -9 $$ ;; esac',
    );
    const { source, put, first, size, warnings } = await large();
    await source.published?.(signal());
    await arm();
    const to = await put([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(Object.keys((await changesOf(source, first, to)) ?? {})).toHaveLength(8);
    await source.published?.(signal());
    expect(warnings).toEqual([
      "the git object cache could not be made smaller: git was ended (SIGKILL) (probably out of memory: raise the limit)",
    ]);
    expect(await size()).toBeGreaterThan(48);
    const asked = shared.server.requests.length;
    for (let i = 0; i < 3; i++) {
      await listAll(source);
      await source.published?.(signal());
    }
    // Not fetched again either.
    expect(shared.server.requests.length).toBe(asked + 3);
    expect(await readFile(log, "utf8")).toBe("repack\n");
    const next = await put([0]);
    expect(Object.keys((await changesOf(source, to, next)) ?? {})).toEqual(["file-0"]);
    expect(await readFile(log, "utf8")).toBe("repack\n");
  });

  test("a git that was killed says why it may have been", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    const { arm } = await instead('case " $* " in *" index-pack "*) kill -9 $$ ;; esac');
    await arm();
    const { source } = await open(repository.url, { engine: "cli" });
    expect(await errorOf(source.list(signal()))).toMatchObject({
      code: "unavailable",
      message: "git was ended (SIGKILL)",
      hint: "probably out of memory: raise the limit",
    });
  });

  test("is thrown away where it is damaged, and that is told", async () => {
    const { arm } = await instead(`case " $* " in *" index-pack "*)
      if [ ! -e $log ]; then touch $log; echo "fatal: pack has 1 unresolved delta" >&2; exit 128; fi ;; esac`);
    const { source, put, first, warnings } = await large();
    const to = await put([0]);
    await arm();
    expect(await changesOf(source, first, to)).toBeUndefined();
    expect(warnings).toEqual([
      "the git object cache is damaged, and is fetched again: pack has 1 unresolved delta",
    ]);
    expect((await listAll(source)).paths).toHaveLength(8);
  });
});

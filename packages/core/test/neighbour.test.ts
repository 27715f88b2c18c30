/**
 * Others who may write to the target, as the containers of a pod may: they put something else under the names of Pannier's directories
 * while it follows. Nothing outside is written to or removed, and a target that was taken away is filled again.
 */
import { spawn, spawnSync } from "node:child_process";
import { EventEmitter, on, once } from "node:events";
import {
  chmodSync,
  chownSync,
  cpSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { follow, type FollowOptions, sync, verify } from "../src/index.ts";
import { memorySource } from "./memory-source.ts";
import { readTree } from "./trees.ts";
import { FROM_SOURCES } from "../../../test/support/from-sources.ts";

const IS_ROOT = process.getuid?.() === 0;
const asRoot = { meta: IS_ROOT ? {} : { skipReason: "needs root, to be other users" } };
const [PANNIER, NEIGHBOUR, GROUP] = [10_001, 10_002, 2000];

let scratch: string;
let target: string;
let victim: string;

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "pannier-test-"));
  chmodSync(scratch, 0o755);
  target = join(scratch, "target");
  victim = join(scratch, "victim");
  mkdirSync(join(victim, "d"), { recursive: true });
  writeFileSync(join(victim, "file"), "precious");
  writeFileSync(join(victim, "d/file"), "precious");
});

afterEach(() => rmSync(scratch, { recursive: true, force: true }));

function expectVictimUntouched(): void {
  expect(readdirSync(victim).toSorted()).toEqual(["d", "file"]);
  expect(readTree(victim)).toEqual({ file: "precious", "d/file": "precious" });
}

/** Puts what leads to the victim in place of something. */
const PLANTS: Readonly<Record<string, (place: string) => void>> = {
  "a link": (place) => symlinkSync(victim, place),
  "a directory of links": (place) => {
    mkdirSync(place);
    const names = ["generations", "scratch", "current", "d", ".pannier"];
    for (const name of names) symlinkSync(victim, join(place, name));
  },
  "an empty directory": (place) => mkdirSync(place),
  nothing: () => {},
};

const find = (prefix: string) => {
  const home = join(target, ".pannier");
  const name = readdirSync(home).find((found) => found.startsWith(prefix));
  return name === undefined ? undefined : join(home, name);
};

const PLACES: Readonly<Record<string, () => string | undefined>> = {
  "the target": () => target,
  ".pannier": () => join(target, ".pannier"),
  generations: () => join(target, ".pannier/generations"),
  scratch: () => find("scratch"),
  "the candidate": () => find("candidate-"),
  "the staging directory": () => find("staging-"),
};

const MOMENTS = ["between two syncs", "list", "fetch", "hook"] as const;

const cases = (publish: "swap" | "mirror") =>
  Object.keys(PLACES).flatMap((place) =>
    Object.keys(PLANTS).flatMap((plant) =>
      MOMENTS.filter(
        (moment) =>
          (publish === "swap" || (moment !== "hook" && place !== "the candidate")) &&
          (place !== "the staging directory" || (publish === "mirror" && moment === "fetch")),
      ).map((moment) => [place, plant, moment] as const),
    ),
  );

describe.each(["swap", "mirror"] as const)("%s: while it follows", (publish) => {
  it.each(cases(publish))(
    "%s is replaced by %s (%s): the victim stays, and the target is filled again",
    { timeout: 30_000 },
    async (place, plant, moment) => {
      const source = memorySource({ a: "1", "d/b": "1" });
      const bell = new EventEmitter();
      const stop = new AbortController();
      let done = 0;
      let struck = false;
      const strike = () => {
        if (place === "scratch") mkdirSync(join(target, ".pannier/scratch"), { recursive: true });
        const path = PLACES[place]?.();
        if (struck || done < 4 || path === undefined) return;
        struck = true;
        renameSync(path, join(scratch, "aside"));
        PLANTS[plant]?.(path);
        if (IS_ROOT && plant !== "nothing") lchownSync(path, NEIGHBOUR, GROUP);
      };
      let isMended = false;
      source.beforeList = () => {
        if (!isMended) source.content = { a: String(done), "d/b": "1", [`d/new${done % 2}`]: "1" };
        if (moment === "list") strike();
      };
      source.beforeRead = () => {
        if (moment === "fetch") strike();
      };
      const prePublish = async () => void (moment === "hook" && strike());
      const options: FollowOptions = {
        sources: [source],
        target,
        publish,
        period: 1,
        maxDelete: "100%",
        prePublish: publish === "swap" ? prePublish : undefined,
      };
      const failures: Error[] = [];
      const control = { signal: stop.signal, triggers: on(bell, "ring", { signal: stop.signal }) };
      let since = 0;
      let isRight = false;
      for await (const event of follow(options, control)) {
        if (event.type === "failed") {
          failures.push(event.error);
          // It is not waited out.
          bell.emit("ring");
        }
        if (event.type === "done") done++;
        isRight = isMended && event.type === "done" && isFilled(publish, source.content);
        if (isRight || done > 50) break;
        if (event.type !== "waiting") continue;
        if (moment === "between two syncs") strike();
        if (!struck || ++since < 4) continue;
        // What was planted lay there for some attempts.
        expectVictimUntouched();
        const path = PLACES[place]?.();
        if (!isMended && path !== undefined && isOfNeighbour(path))
          rmSync(path, { recursive: true });
        isMended = true;
      }
      stop.abort();
      expectVictimUntouched();
      expect(failures.filter(({ name }) => name !== "TargetError")).toEqual([]);
      expect({ struck, isRight }).toEqual({ struck: true, isRight: true });
      expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
    },
  );
});

/** Where there is no other user, whatever is planted is taken away again. */
function isOfNeighbour(path: string): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats !== undefined && (IS_ROOT ? stats.uid === NEIGHBOUR : stats.isSymbolicLink());
}

/** A mirror whose state was taken away does not know which files were its own. */
function isFilled(publish: string, content: object): boolean {
  try {
    const tree = readTree(publish === "swap" ? join(target, "current") : target);
    const known = Object.entries(tree).filter(([path]) => publish === "swap" || path in content);
    return isDeepStrictEqual(Object.fromEntries(known), content);
  } catch {
    return false;
  }
}

const asUser = (uid: number, command: readonly string[]) =>
  ["--reuid", uid, "--regid", uid, "--groups", GROUP, "--", ...command].map(String);

/** What a kubelet makes of a volume with fsGroup. */
function makeShared(directory: string): void {
  mkdirSync(directory, { recursive: true });
  chownSync(directory, 0, GROUP);
  chmodSync(directory, 0o2775);
}

describe("as users of one group, as containers of a pod are", () => {
  it.runIf(IS_ROOT)(
    "a neighbour's .pannier whose trees are a link to what Pannier may write to",
    { timeout: 60_000, ...asRoot },
    async () => {
      makeShared(target);
      chownSync(victim, PANNIER, PANNIER);
      const child = join(import.meta.dirname, "neighbour-child.ts");
      const following = spawn(
        "setpriv",
        asUser(PANNIER, [process.execPath, ...FROM_SOURCES, child, target]),
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      try {
        const lines = createInterface({ input: following.stdout });
        const told = on(lines, "line", { close: ["close"] });
        const hear = async (what: RegExp, times: number) => {
          for (let heard = 0; heard < times;) {
            // Not a loop over it, which would end it.
            const { value, done } = await told.next();
            if (done === true) throw new Error("it ended");
            if (what.test((value as [string])[0])) heard++;
          }
        };
        await hear(/^done/, 4);
        // Again where Pannier has made its own in the moment between.
        const plant = `
          mkdir -m 777 "$0/.planted" && ln -s "$1" "$0/.planted/generations" || exit
          for i in $(seq 1000); do
            mv "$0/.pannier" "$0/.old$i" && mv -T "$0/.planted" "$0/.pannier" && exit
          done 2>"$0/.planted/errors"
          exit 1`;
        const planted = spawnSync(
          "setpriv",
          asUser(NEIGHBOUR, ["sh", "-c", plant, target, victim]),
          { encoding: "utf8" },
        );
        expect(planted).toMatchObject({ status: 0, stderr: "" });
        await hear(
          new RegExp(
            `^failed TargetError the target .* belongs to the Pannier of user ${NEIGHBOUR}`,
          ),
          3,
        );
        expectVictimUntouched();
        rmSync(join(target, ".pannier"), { recursive: true });
        await hear(/^done/, 4);
        expectVictimUntouched();
        expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
      } finally {
        following.kill("SIGKILL");
        await once(following, "exit");
      }
    },
  );

  it.runIf(IS_ROOT).each(["../../victim", "candidate-../../../victim", ".", ""])(
    "root does not believe a neighbour's state, nor its candidate %j",
    asRoot,
    async (name) => {
      makeShared(target);
      const source = memorySource({ a: "1" });
      await sync({ sources: [source], target, keep: 1 });
      const home = join(target, ".pannier");
      const forged = join(target, ".forged");
      cpSync(home, forged, { recursive: true });
      chownSync(forged, NEIGHBOUR, GROUP);
      const db = new DatabaseSync(join(forged, "state.db"));
      const record = { name, slot: 77, base: null, clean: false };
      db.prepare("INSERT OR REPLACE INTO meta VALUES ('candidate', ?)").run(JSON.stringify(record));
      db.close();
      renameSync(home, join(target, ".old"));
      renameSync(forged, home);
      source.content = { a: "2" };
      await expect(sync({ sources: [source], target })).rejects.toMatchObject({
        name: "TargetError",
        message: `the target ${target} belongs to the Pannier of user ${NEIGHBOUR}`,
      });
      expectVictimUntouched();
      // Asked to believe it, it still goes nowhere else.
      await sync({ sources: [source], target, owner: { uid: NEIGHBOUR, gid: GROUP } });
      expectVictimUntouched();
      expect(readTree(join(target, "current"))).toEqual({ a: "2" });
    },
  );
});

describe("names out of the state lead nowhere else", () => {
  it.each([
    ["UPDATE generations SET tree = '../../../victim'"],
    ["INSERT OR REPLACE INTO meta VALUES ('link', '../victim')"],
    [
      `INSERT OR REPLACE INTO meta VALUES ('candidate', '{"name":"candidate-0123456789abcdef","slot":77,"base":null,"clean":false,"from":"../../../victim"}')`,
    ],
    [`INSERT OR REPLACE INTO overlay (path, present, kind) VALUES ('../../../victim/file', 1, 0)`],
  ])("%s", async (statement) => {
    const source = memorySource({ a: "1" });
    await sync({ sources: [source], target, keep: 1 });
    const db = new DatabaseSync(join(target, ".pannier/state.db"));
    db.exec(statement);
    db.close();
    source.content = { a: "2" };
    const message = await sync({ sources: [source], target, keep: 1 }).catch(String);
    expectVictimUntouched();
    expect(message).toEqual(expect.anything());
  });

  it("of a mirror's staging", async () => {
    const source = memorySource({ a: "1" });
    await sync({ sources: [source], target, publish: "mirror" });
    const db = new DatabaseSync(join(target, ".pannier/state.db"));
    const { layers, digest } = db.prepare("SELECT * FROM generations").get() as Record<
      string,
      string
    >;
    const generation = {
      revision: "2",
      files: 1,
      bytes: 1,
      added: 0,
      changed: 1,
      deleted: 0,
      digest,
      layers: JSON.parse(layers as string),
    };
    const settings = { dirMode: 0o755, obstacles: "refuse" };
    db.prepare("INSERT INTO meta VALUES ('mirroring', ?)").run(
      JSON.stringify({ staging: "../../victim", generation, settings }),
    );
    db.close();
    source.content = { a: "2" };
    await sync({ sources: [source], target, publish: "mirror" });
    expectVictimUntouched();
    expect(readTree(target)).toEqual({ a: "2" });
  });
});

it("what is made in a directory of a group belongs to the group, as its volume says", async () => {
  mkdirSync(target);
  chmodSync(target, 0o2775);
  const source = memorySource();
  source.content = { "d/a": "1" };
  const options = { sources: [source], target, mode: 0o640, dirMode: 0o750 };
  const modes = () =>
    [".pannier", ".pannier/generations", "current/", "current/d"].map(
      (path) => lstatSync(join(target, path)).mode & 0o7777,
    );
  await sync(options);
  expect(modes()).toEqual([0o2755, 0o2755, 0o2750, 0o2750]);
  source.content = { "d/a": "1", "e/b": "2" };
  await sync(options);
  await sync({ ...options, dirMode: 0o2770 });
  expect(modes()).toEqual([0o2755, 0o2755, 0o2770, 0o2770]);
  expect((await sync({ ...options, dirMode: 0o2770 })).result).toBe("unchanged");
});

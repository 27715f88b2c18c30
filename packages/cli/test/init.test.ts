import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { run as runIn, type RunOptions } from "./run.ts";

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), "pannier-test-"))));
afterEach(() => rm(folder, { recursive: true }));

const run = (args: string[], options: RunOptions = {}) => runIn(args, { cwd: folder, ...options });
const config = () => readFile(join(folder, "pannier.yaml"), "utf8");

test.each([
  ["git+https://git.example.com/web/site.git?ref=main", "site"],
  ["s3://brand-assets/logos/", "logos"],
  ["gs://models", "models"],
  ["https://host.example.com/v1.2/app.tar.gz", "app"],
  ["./the site", "the-site"],
])("init writes a configuration that validates: %s", async (url, name) => {
  const written = await run(["init", url]);
  expect(written).toEqual({
    code: 0,
    stdout: "wrote pannier.yaml\nwrote pannier.schema.json\n",
    stderr: "",
  });
  expect(await config()).toContain(`name: ${name}\n`);
  expect(await run(["validate"])).toMatchObject({
    code: 0,
    stdout: "pannier.yaml is valid: 1 mount\n",
  });
  expect(JSON.parse(await readFile(join(folder, "pannier.schema.json"), "utf8"))).toHaveProperty(
    "properties.mounts",
  );
});

test("each setting that is commented out is right when it is taken in", async () => {
  await run(["init"]);
  const all = (await config()).replace(/^( *)# (?=( *)[a-zA-Z]+:( |$))/gm, "$1");
  expect(all).toContain("\n        credentials:\n          username: reader\n");
  expect(all).toMatch(/\n {4}hooks:\n[^]*\n {6}prePublish:/);
  await writeFile(join(folder, "pannier.yaml"), all);
  expect(await run(["validate", "--json"])).toMatchObject({
    stdout: '{"valid":true,"problems":[]}\n',
  });
});

test("init replaces nothing, and writes no secret", async () => {
  await run(["init"]);
  const before = await config();
  const again = await run(["init", "/srv/other"]);
  expect([again.code, again.stderr]).toEqual([2, expect.stringMatching(/exists already/)]);
  expect(await config()).toBe(before);
  for (const url of ["https://ann:hunter22@h/x.git", "https://h/x.txt?signature=hunter22"]) {
    const { code, stderr, stdout } = await run(["init", url, "--config", "other.yaml"]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain("the URL holds a user, a password or a signature");
    expect(stderr).not.toContain("hunter22");
  }
  await expect(readFile(join(folder, "other.yaml"))).rejects.toThrow("ENOENT");
});

test("validate tells all mistakes at once, unknown keys first", async () => {
  await writeFile(
    join(folder, "site.yaml"),
    `mounts:
  - taget: ./a
    sources: [./s]
    keep: 0
  - target: ./b
    source: ./s
`,
  );
  expect(await run(["validate", "site.yaml"])).toEqual({
    code: 2,
    stdout: `site.yaml: line 2, column 5: unknown key "taget" in mounts[0]: did you mean "target"?
site.yaml: line 6, column 5: unknown key "source" in mounts[1]: did you mean "sources"?
site.yaml: line 2, column 5: mounts[0].target is missing
site.yaml: line 4, column 11: mounts[0].keep: "0" is not a whole number from 1
site.yaml: line 5, column 5: mounts[1].sources is missing
`,
    stderr: "",
  });
});

test("validate looks at the sources of each mount, and asks none", async () => {
  await writeFile(
    join(folder, "pannier.yaml"),
    `mounts:
  - { name: a, target: ./a, sources: ["ssh://git@host/x.git"] }
  - { name: b, target: ./b, sources: ["git+https://host.invalid/x.git"] }
  - { name: c, target: ./c, sources: ["git+https://host.invalid/x.git?reff=main"] }
`,
  );
  const { code, stdout } = await run(["validate", "--json"]);
  expect(code).toBe(2);
  expect(JSON.parse(stdout)).toEqual({
    valid: false,
    problems: [
      expect.stringMatching(
        /^mount "a": no adapter for "ssh:\/\/".*: did you mean "git\+ssh:\/\/"\?$/,
      ),
      expect.stringMatching(
        /^mount "c": unknown option "reff" of a git source: did you mean "ref"\?$/,
      ),
    ],
  });
});

test("validate without a file is about the environment, as run is", async () => {
  const env = { PANNIER_SOURCE: "./s", PANNIER_TARGET: "./t" };
  expect((await run(["validate"], { env })).stdout).toBe("the environment is valid: 1 mount\n");
  expect(await run(["validate"])).toMatchObject({ code: 2, stdout: "" });
  expect(await run(["validate", "nowhere.yaml"])).toMatchObject({ code: 2, stdout: "" });
});

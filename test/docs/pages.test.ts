/** What the pages say of names is true: options, flags, commands, variables, messages, tests, links. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { EventEmitter } from "node:events";
import { fileAdapter } from "@pannier/adapter-file";
import { azureAdapter } from "@pannier/adapter-azure";
import { gcsAdapter } from "@pannier/adapter-gcs";
import { nfsAdapter } from "@pannier/adapter-nfs";
import { s3Adapter } from "@pannier/adapter-s3";
import { ftpAdapter } from "@pannier/adapter-ftp";
import { gitAdapter } from "@pannier/adapter-git";
import { httpAdapter } from "@pannier/adapter-http";
import { sftpAdapter } from "@pannier/adapter-sftp";
import { smbAdapter } from "@pannier/adapter-smb";
import { type OptionSpecs, variableName } from "@pannier/core";
import { describe, expect, test } from "vitest";
import { FLAGS, flagName } from "../../packages/cli/src/flags.ts";
import { main } from "../../packages/cli/src/main.ts";
import { EXIT_CODES } from "../../packages/cli/src/manual.ts";
import { anchorOf } from "../../apps/site/src/pages.ts";
import { withTables } from "./option-tables.ts";
import { serversTable } from "./tested-with.ts";
import { blocks, page, pages, prose, ROOT, section, tableRows } from "./pages.ts";

const ALL = pages();
/** Those that tell users how to use it. */
const MANUAL = ALL.filter(({ name }) => /^(README|docs\/|packages\/)/.test(name));
const OPERATIONS = page("docs/operations.md").text;

describe.each([
  ["file", fileAdapter.options, "## Addresses and options"],
  ["http", httpAdapter.options, "## Options"],
  ["git", gitAdapter.options, "## Options"],
  ["azure", azureAdapter.options, "## Options"],
  ["gcs", gcsAdapter.options, "## Options"],
  ["s3", s3Adapter.options, "## Options"],
  ["sftp", sftpAdapter.options, "## Options"],
  ["smb", smbAdapter.options, "## Options"],
  ["ftp", ftpAdapter.options, "## Options"],
  ["nfs", nfsAdapter.options, "## Options"],
] as [string, OptionSpecs, string][])("options of %s", (name, options, heading) => {
  test("are those of its page, with their defaults", () => {
    const rows = tableRows(section(page(`docs/adapters/${name}.md`).text, "## Options"));
    const told = rows.map((cells) => [cells[0], cells.at(-1)]);
    const expected = Object.entries(options).map(([option, spec]) => [
      option,
      String(spec.default ?? ""),
    ]);
    expect(told.toSorted()).toEqual(expected.toSorted());
  });

  test("are those of its package's README", () => {
    const text = section(page(`packages/adapter-${name}/README.md`).text, heading);
    const told = tableRows(text).map(([option = ""]) => option.replace(/=.*/, ""));
    expect(told.toSorted()).toEqual(Object.keys(options).toSorted());
  });
});

/** What `pannier help` prints. */
async function help(...command: string[]): Promise<string> {
  let said = "";
  const output = { write: (text: string) => Boolean((said += text)), once: () => {} };
  await main(["help", ...command], {
    env: {},
    cwd: ROOT,
    stdout: output,
    stderr: output,
    signals: new EventEmitter(),
  });
  return said;
}

async function commands(): Promise<Map<string, ReadonlySet<string>>> {
  const [, list = ""] = (await help()).split("Commands:\n");
  const names = Array.from(list.matchAll(/^ {2}([a-z]+) /gm), ([, name = ""]) => name);
  const flags = async (name: string) =>
    new Set(
      Array.from((await help(name)).matchAll(/^ +(?:-\w, )?--([a-z-]+)/gm), ([, f = ""]) => f),
    );
  return new Map(await Promise.all(names.map(async (name) => [name, await flags(name)] as const)));
}

describe("the command line", () => {
  test("every command is in the manual, and none besides", async () => {
    const known = [...(await commands()).keys()].filter((name) => name !== "help");
    for (const name of ["docs/operations.md", "packages/cli/README.md"]) {
      const told = tableRows(section(page(name).text, "## Commands")).map(
        ([form = ""]) => form.split(" ")[0],
      );
      expect(told.toSorted(), name).toEqual(known.toSorted());
    }
  });

  test("exit codes mean the same in the manual page", () => {
    const rows = section(OPERATIONS, "## Exit codes").matchAll(/^\| (\d) +\| (.+?) +\|/gm);
    const told = Array.from(rows, ([, code, meaning = ""]) => [
      Number(code),
      meaning.replaceAll("`", ""),
    ]);
    expect(told).toEqual([...EXIT_CODES.entries()]);
  });

  test("the tables of flags and options are current: npm run docs:tables writes them", () => {
    const written = [
      "docs/operations.md",
      "docs/configuration.md",
      "docs/configuration-reference.md",
    ].map((name) => {
      const { text } = page(name);
      const fresh = withTables(text);
      expect(tableCells(text), name).toEqual(tableCells(fresh));
      return text.match(/written by npm run docs:tables/g)?.length;
    });
    expect(written).toEqual([1, 1, 1]);
  });

  test("every command line that is shown has commands and flags that there are", async () => {
    const known = await commands();
    const lines = MANUAL.flatMap(({ name, text }) =>
      Array.from(
        // In "helm install pannier CHART", it is the name of a release.
        text.matchAll(/(?:^|[`\s;&|])(?<!helm install )pannier ((?:--)?[a-z-]+)([^`\n]*)/gm),
        ([line, command = "", rest = ""]) => ({ name, line: line.trim(), command, rest }),
      ),
    ).filter(({ name, line }) => isCommandLine(name, line));
    expect(lines.length).toBeGreaterThan(40);
    for (const { name, line, command, rest } of lines) {
      if (command.startsWith("--")) continue;
      expect(known.has(command), `${name}: ${line}`).toBe(true);
      for (const [, flag = ""] of rest.matchAll(/ --([a-z-]+)/g))
        expect(known.get(command)?.has(flag), `${name}: ${line}: --${flag}`).toBe(true);
    }
  });

  test("every flag that the text names is one", () => {
    const flags = Object.keys(FLAGS).map(flagName);
    for (const { name, text } of MANUAL.filter((each) =>
      /^docs\/(concepts|security|adapters)|^packages\/cli/.test(each.name),
    ))
      for (const [, flag = ""] of prose(text).matchAll(/`--([a-z-]+)/g))
        expect(flags, `${name}: --${flag}`).toContain(flag);
  });

  test("every variable that the manual names is read, and every one that is read is in the manual", () => {
    const source = readFileSync(join(ROOT, "packages/cli/src/environment.ts"), "utf8");
    const own = variablesIn(source);
    const known = new Set([...own, ...Object.keys(FLAGS).map(variableName)]);
    for (const { name, text } of MANUAL)
      for (const variable of variablesIn(text))
        expect(known.has(variable), `${name}: ${variable}`).toBe(true);
    expect([...own].filter((variable) => !variablesIn(OPERATIONS).has(variable))).toEqual([]);
  });
});

/** Whatever the width of the columns. */
function tableCells(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.replaceAll(/ +/g, " ").replaceAll(/-{3,}/g, "---"))
    .filter((line) => line !== "");
}

function variablesIn(text: string): Set<string> {
  return new Set(text.match(/\bPANNIER_[A-Z_]*[A-Z]\b(?!_)/g));
}

/** In running text, "pannier" is followed by other words as well. */
function isCommandLine(name: string, line: string): boolean {
  return line.startsWith("`") || blocksOfShell(name).some((block) => block.includes(line));
}

function blocksOfShell(name: string): string[] {
  const { text } = page(name);
  return ["sh", "sh tour", "sh tour git"].flatMap((info) => blocks(text, info));
}

test("every message that is explained is one that can be met", () => {
  const sources = readdirSync(join(ROOT, "packages"), { recursive: true, encoding: "utf8" })
    .filter((path) => /^[^/]+\/src\/.*(?<!\.test)\.ts$/.test(path))
    .map((path) => readFileSync(join(ROOT, "packages", path), "utf8"))
    .join("\n");
  const explained = [
    ...[
      "file",
      "http",
      "git",
      "sftp",
      "s3",
      "gcs",
      "azure",
      "ftp",
      "nfs",
      "webdav",
      "smb",
      "oci",
      "hf",
      "release",
      "k8s",
    ].map((name) => section(page(`docs/adapters/${name}.md`).text, "## Troubleshooting")),
    section(OPERATIONS, "## When something is wrong"),
  ].flatMap((text) => Array.from(text.matchAll(/^\| (`.*?) \| /gm), ([, cell = ""]) => cell));
  const messages = explained.flatMap((cell) =>
    Array.from(cell.matchAll(/`([^`]+)`/g), ([, message = ""]) => message),
  );
  expect(messages.length).toBeGreaterThan(20);
  for (const message of messages)
    for (const part of message.split("…"))
      expect(sources.includes(part.trim()), `${message}: ${part}`).toBe(true);
});

test("every flag of git-sync has its line on the page for those who come from there", () => {
  // As its source of July 2026 declares them (e2be7fa).
  const flags = readFileSync(join(import.meta.dirname, "git-sync-flags.txt"), "utf8").trim();
  const table = section(prose(page("docs/moving-from-git-sync.md").text), "## git-sync");
  const told = Array.from(table.matchAll(/^\| (`-[^|]+)\|/gm), ([, cell = ""]) =>
    Array.from(cell.matchAll(/`([^`]+)`/g), ([, flag = ""]) => flag),
  ).flat();
  expect(told.toSorted()).toEqual(flags.split("\n").toSorted());
});

test("the page of what is tested names every server, at the version that the tests install", () => {
  // Versions of Debian's packages are those of the machine that wrote the page.
  const rows = serversTable(() => undefined)
    .split("\n")
    .slice(2);
  const told = page("docs/tested-with.md").text.replaceAll(/ +/g, " ").split("\n");
  for (const row of rows.filter((each) => each !== "")) {
    const [, source = "", servers = ""] = row.split("|");
    const line = told.find((each) => each.startsWith(`|${source}|`)) ?? "";
    for (const server of servers.trim().split(", ")) expect(line, source).toContain(server);
  }
  expect(rows.length).toBeGreaterThan(8);
});

test("every test that the page on security names is there", () => {
  const links = Array.from(
    page("docs/security.md").text.matchAll(/\[([^\]]+)\]\(([^)]+\.test\.ts)\)/g),
    ([, title = "", path = ""]) => ({ title: title.replaceAll("\\", ""), path }),
  ).filter(({ title }) => title.length > 12);
  expect(links.length).toBeGreaterThan(30);
  for (const { title, path } of links) {
    const text = readFileSync(join(ROOT, "docs", path), "utf8");
    expect(text.includes(title), `${path}: ${title}`).toBe(true);
  }
});

test("every package has a README", () => {
  for (const name of readdirSync(join(ROOT, "packages")))
    expect(existsSync(join(ROOT, "packages", name, "README.md")), name).toBe(true);
});

test("every link within the project leads somewhere", () => {
  for (const { name, text } of ALL) {
    for (const [, target = ""] of prose(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? join(ROOT, name) : join(ROOT, dirname(name), path);
      expect(existsSync(file), `${name}: ${target}`).toBe(true);
      if (anchor === undefined || !statSync(file).isFile()) continue;
      expect(anchors(readFileSync(file, "utf8")), `${name}: ${target}`).toContain(anchor);
    }
  }
});

function anchors(text: string): string[] {
  return Array.from(prose(text).matchAll(/^#+ (.*)$/gm), ([, heading = ""]) => anchorOf(heading));
}

#!/usr/bin/env node
// Plain JavaScript without static imports, so that a Node that is too old for the rest still gets to say so.
const [major, minor] = process.versions.node.split(".").map(Number);

if (major < 22 || (major === 22 && minor < 13)) {
  await runOnNewerNode();
} else if (process.argv.length === 3 && ["--version", "-V"].includes(process.argv[2])) {
  process.stdout.write(`${await versionAndCommit()}\n`);
} else {
  if (process.argv[2] === "run") becomeSmall();
  weighGarbageLater(250);
  await start();
}

/**
 * Not before the modules are loaded that a program begins with: with other flags than those that it was built with, Node compiles its
 * own modules again (30 to 45 ms of processor), and code that was kept under one set of flags is refused under another.
 * That is told by the processor's time, since a busy machine takes any time. What takes more has a heap that is worth it.
 */
function weighGarbageLater(pause) {
  setTimeout(() => {
    const { user, system } = process.cpuUsage();
    if (user + system < 600_000) weighGarbageLater(pause * 2);
    else weighGarbage();
  }, pause).unref();
}

/** How V8 decides to collect garbage. */
function weighGarbage() {
  const { setFlagsFromString } = process.getBuiltinModule("node:v8");
  // Garbage is collected when the heap has grown by half, not when it has doubled and more: a third less memory where a
  // million entries pass, for no more time (bench/README.md).
  setFlagsFromString("--heap-growing-percent=50");
  // What came from a connection is weighed with the heap, instead of starting a collection of everything for each 64 MiB: a
  // quarter less processor time for a large file by SFTP, for 10 MiB, which a sidecar is better off without. V8 of Node 22
  // does not know the flag, and complains; that of 14.8 is said to do so by itself.
  const [v8, v8Minor] = process.versions.v8.split(".").map(Number);
  if (process.argv[2] !== "run" && (v8 === 13 || (v8 === 14 && v8Minor < 8)))
    setFlagsFromString("--external-memory-accounted-in-global-limit");
}

/** The commit is known to what was packed or bundled, and to git in a checkout. */
async function versionAndCommit() {
  const { existsSync, readFileSync } = process.getBuiltinModule("node:fs");
  const read = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
  const { version } = JSON.parse(read("../package.json"));
  let commit = "";
  if (existsSync(new URL("../dist/commit", import.meta.url))) commit = read("../dist/commit");
  else if (existsSync(new URL("../../../.git", import.meta.url))) {
    const { spawnSync } = await import("node:child_process");
    const args = ["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"];
    const cwd = new URL("..", import.meta.url);
    commit = spawnSync("git", args, { cwd, encoding: "utf8" }).stdout ?? "";
  }
  return commit.trim() === "" ? version : `${version} (${commit.trim()})`;
}

async function start() {
  // Compiled code is kept between runs (below the system's directory for temporary files): halves the start-up.
  // Not by an import, which looks at each export of Node's modules, and so loads what nobody asked for (10 ms of processor).
  process.getBuiltinModule("node:module").enableCompileCache();
  silenceSqliteWarning();
  const program = new URL("../dist/bin.js", import.meta.url);
  if (process.getBuiltinModule("node:fs").existsSync(program)) return import(program.href);
  process.stderr.write("pannier: the program is not built. Run npm run build first\n");
  process.exitCode = 2;
}

/**
 * The sidecar idles most of its life, beside an application that wants the memory: a small young generation, and a C library that gives back
 * what is freed, take a quarter off it (bench/README.md). Both can be had only at the start of a process: this one is replaced, and keeps its number.
 */
function becomeSmall() {
  const flag = "--optimize-for-size";
  if (process.platform !== "linux" || process.execve === undefined) return;
  if (process.execArgv.includes(flag)) return;
  // Says that it is experimental.
  process.emitWarning = () => {};
  const flags = [...process.execArgv, "--max-semi-space-size=1", flag];
  process.execve(process.execPath, [process.execPath, ...flags, ...process.argv.slice(1)], {
    MALLOC_ARENA_MAX: "1",
    MALLOC_TRIM_THRESHOLD_: "65536",
    MALLOC_MMAP_THRESHOLD_: "65536",
    ...process.env,
  });
}

/** Node 22 and 24 warn whenever node:sqlite is loaded: nothing that a user of this program can act on. */
function silenceSqliteWarning() {
  const { emitWarning } = process;
  process.emitWarning = (warning, ...rest) => {
    if (!String(warning).startsWith("SQLite is an experimental feature"))
      emitWarning.call(process, warning, ...rest);
  };
}

/** A checkout has its own Node beside the dependencies, whatever the system's is. */
async function runOnNewerNode() {
  const { existsSync, realpathSync } = await import("node:fs");
  const { dirname, join } = await import("node:path");
  const { fileURLToPath } = await import("node:url");
  const script = fileURLToPath(import.meta.url);
  for (let folder = dirname(script); folder !== dirname(folder); folder = dirname(folder)) {
    const node = join(folder, "node_modules", ".bin", "node");
    if (existsSync(node) && realpathSync(node) !== process.execPath) return handOver(node, script);
  }
  process.stderr.write(
    `pannier: Node ${process.versions.node} is too old: Pannier needs 22.13 or later. Install a current Node\n`,
  );
  process.exitCode = 2;
}

async function handOver(node, script) {
  const { spawn } = await import("node:child_process");
  const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"];
  // Before it is started: a signal that came in between would end this process and leave that one behind.
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  const child = spawn(node, [script, ...process.argv.slice(2)], { stdio: "inherit" });
  child.on("exit", (code, signal) => {
    for (const name of signals) process.removeAllListeners(name);
    if (signal === null) process.exitCode = code;
    else process.kill(process.pid, signal);
  });
}

/** Loaded before the program: stops it where it begins with its target, until it is continued. What is done to it then hits no loading of modules. */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const { mkdirSync } = fs;
let stopped = false;

process.umask(Number(process.env["TEST_UMASK"] ?? 0o022));

fs.mkdirSync = ((...args: Parameters<typeof mkdirSync>) => {
  if (!stopped) {
    stopped = true;
    fs.writeSync(1, "at the target\n");
    process.kill(process.pid, "SIGSTOP");
  }
  return mkdirSync(...args);
}) as typeof mkdirSync;
syncBuiltinESMExports();

/** Runs the program in this process. */
import { failUncaught, main } from "./main.ts";
import type { ProcessContext } from "./process-context.ts";

const argv = process.argv.slice(2);
const context: ProcessContext = {
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  signals: process,
};

// A reader that went away (`pannier ls … | head`) is no failure of ours: end as other programs do.
for (const output of [process.stdout, process.stderr]) {
  output.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(141);
    throw error;
  });
}
// Node would print whatever secret the error holds.
process.on("uncaughtException", (error) => process.exit(failUncaught(error, argv, context)));

const code = await main(argv, context);
// What an adapter's SDK left open must not keep the process alive; what is written must be out.
process.stdout.write("", () => process.exit(code));

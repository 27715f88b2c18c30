/** Runs the program in this process. */
import { main } from "./main.ts";

// A reader that went away (`pannier ls … | head`) is no failure of ours: end as other programs do.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(141);
  throw error;
});

const code = await main(process.argv.slice(2), {
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  signals: process,
});
// What an adapter's SDK left open must not keep the process alive; what is written must be out.
process.stdout.write("", () => process.exit(code));

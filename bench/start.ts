import { compete, table } from "./measure.ts";
import { pannier } from "./tools.ts";

export async function start(): Promise<string> {
  const results = await compete(
    [
      { name: "`pannier --version`", command: pannier("--version") },
      { name: "`pannier --help`", command: pannier("--help") },
      { name: "`node -e 0`", command: { program: process.execPath, args: ["-e", "0"] } },
    ],
    20,
  );
  return table(results);
}

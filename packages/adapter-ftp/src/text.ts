/** The lines of a listing while they come: of bounded length, and never all of them at once. */
import { createPace, makePause, SourceError } from "@pannier/core/adapter";

/** Bytes. A name has 255, the target of a symlink 4,095, and what is around them a few hundred. */
const LONGEST_LINE = 16_384;
/** Bytes a second: some servers look a while for what they tell of each name. */
const LEAST = 16;
const [CR, LF] = [13, 10];

/**
 * Splits at line feeds, with or without a carriage return before them. Lines are bytes, one character each.
 *
 * @throws SourceError `invalid` on a line without an end, `unavailable` on a listing without progress
 */
export async function eachLine(
  chunks: AsyncIterable<Buffer>,
  onLine: (line: string) => void,
): Promise<void> {
  const pause = makePause();
  const pace = createPace("the server's listing", { least: LEAST });
  let rest = "";
  let asked = performance.now();
  for await (const chunk of chunks) {
    pace.came(performance.now() - asked, chunk.length);
    let from = 0;
    for (let lines = 1; ; lines++) {
      const end = chunk.indexOf(LF, from);
      if (end === -1) break;
      // Each a string of its own: a part of a larger one would keep that.
      const line =
        rest + chunk.toString("latin1", from, chunk[end - 1] === CR && end > from ? end - 1 : end);
      from = end + 1;
      rest = "";
      checkLength(line);
      onLine(line.endsWith("\r") ? line.slice(0, -1) : line);
      if (lines % 100 === 0) await pause();
    }
    rest += chunk.toString("latin1", from, Math.min(chunk.length, from + LONGEST_LINE + 1));
    checkLength(rest);
    asked = performance.now();
  }
  if (rest !== "") onLine(rest.replace(/\r$/, ""));
}

function checkLength(line: string): void {
  if (line.length <= LONGEST_LINE) return;
  throw new SourceError(
    "invalid",
    `the server's listing has a line of more than ${LONGEST_LINE.toLocaleString("en")} bytes`,
    { hint: "check that the port is that of an FTP server" },
  );
}

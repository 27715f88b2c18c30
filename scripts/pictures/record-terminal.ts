/**
 * Runs commands in a terminal and draws what it showed, when it showed it, as an SVG that plays once.
 * What nobody types while it records is typed by the drawing.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import headless, { type IBufferCell, type Terminal } from "@xterm/headless";

const COLUMNS = 96;
const PROMPT = "\u001b[32m$\u001b[39m ";

/** In milliseconds. */
const TYPING = 20;
const BEFORE_ENTER = 250;
const AFTER_COMMAND = 900;
/** A longer wait of the program is shown as this one. */
const LONGEST_WAIT = 500;

/** What came to the terminal, and how long after what came before it. */
interface Chunk {
  readonly wait: number;
  readonly data: Uint8Array | string;
}

/** Characters of one style that came at one moment. */
interface Span {
  text: string;
  readonly style: string;
  readonly from: number;
}

/** A row until something in it is overwritten. */
interface Version {
  readonly row: number;
  readonly spans: Span[];
  until: number | undefined;
}

export interface Recording {
  readonly rows: number;
  readonly versions: readonly Version[];
}

/**
 * @param commands lines for bash
 * @param where their directory, and their variables
 * @throws Error where a command fails, with what it wrote
 */
export async function record(
  commands: readonly string[],
  where: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): Promise<Recording> {
  const terminal = new headless.Terminal({
    cols: COLUMNS,
    rows: 60,
    allowProposedApi: true,
    convertEol: true,
  });
  const versions: Version[] = [];
  const shown = new Map<number, { readonly version: Version; readonly cells: readonly Cell[] }>();
  let now = 0;
  for (const { wait, data } of commands.flatMap((command) => [...chunks(command, where)])) {
    now += wait;
    await new Promise<void>((resolve) => terminal.write(data, resolve));
    for (let row = 0; row < terminal.rows; row++) {
      const cells = cellsOf(terminal, row);
      const before = shown.get(row)?.cells ?? [];
      if (cells.join() === before.join()) continue;
      let version = shown.get(row)?.version;
      const grew = version !== undefined && cells.slice(0, before.length).join() === before.join();
      if (version === undefined || !grew) {
        if (version !== undefined) version.until = now;
        version = { row, spans: [], until: undefined };
        versions.push(version);
      }
      addSpans(version.spans, cells.slice(grew ? before.length : 0), now);
      shown.set(row, { version, cells });
    }
  }
  return { rows: terminal.buffer.active.cursorY, versions };
}

/** The text that is left at the end, a row a line. */
export function finalText({ versions }: Recording): string[] {
  return versions
    .filter(({ until, spans }) => until === undefined && spans.length > 0)
    .toSorted((a, b) => a.row - b.row)
    .map(({ spans }) => spans.map(({ text }) => text).join(""));
}

function* chunks(
  command: string,
  where: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): Generator<Chunk> {
  yield { wait: 0, data: PROMPT };
  for (const character of command) yield { wait: TYPING, data: character };
  yield { wait: BEFORE_ENTER, data: "\n" };
  yield* run(command, where);
  yield { wait: AFTER_COMMAND, data: "" };
}

function* run(
  command: string,
  where: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): Generator<Chunk> {
  const folder = mkdtempSync(join(tmpdir(), "pannier-record-"));
  try {
    const [output, timing] = [join(folder, "output"), join(folder, "timing")];
    // https://manpages.debian.org/script: a line of the timing is a wait in seconds, and how many bytes came then.
    execFileSync(
      "script",
      ["-qe", "-O", output, "-T", timing, "-c", `stty cols ${COLUMNS} rows 60; ${command}`],
      { ...where, stdio: ["ignore", "ignore", "inherit"] },
    );
    const bytes = readFileSync(output);
    let at = bytes.indexOf("\n") + 1;
    for (const line of readFileSync(timing, "utf8").trim().split("\n")) {
      const [wait = 0, length = 0] = line.split(" ").map(Number);
      yield {
        wait: Math.min(wait * 1000, LONGEST_WAIT),
        data: bytes.subarray(at, (at += length)),
      };
    }
  } catch (error) {
    throw new Error(`${command}: ${String(error)}`, { cause: error });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The style and the character of a cell, with a tab between. */
type Cell = `${string}\t${string}`;

function cellsOf(terminal: Terminal, row: number): Cell[] {
  const line = terminal.buffer.active.getLine(row);
  return Array.from({ length: line?.translateToString(true).length ?? 0 }, (_, column): Cell => {
    const cell = line?.getCell(column);
    return `${cell === undefined ? "" : styleOf(cell)}\t${cell?.getChars() || " "}`;
  });
}

function addSpans(spans: Span[], cells: readonly Cell[], from: number): void {
  for (const cell of cells) {
    const [style = "", text = ""] = cell.split("\t");
    const last = spans.at(-1);
    if (last?.style === style && last.from === from) last.text += text;
    else spans.push({ text, style, from });
  }
}

function styleOf(cell: IBufferCell): string {
  const color = cell.isFgPalette() ? `c${cell.getFgColor() % 8}` : "";
  return [color, cell.isBold() ? "bold" : "", cell.isDim() ? "dim" : ""].filter(Boolean).join(" ");
}

const LINE = 20;
const SIDE = 20;
const TOP = 46;

/** @param title what is seen in it, for those who do not see it */
export function toSvg({ rows, versions }: Recording, title: string): string {
  const [width, height] = [COLUMNS * 7.85 + 2 * SIDE, TOP + rows * LINE + 6];
  const texts = versions
    .filter(({ spans }) => spans.length > 0)
    .map(({ row, until, spans }) => {
      const inner = spans.map(
        ({ text, style, from }) =>
          `<tspan${style && ` class="${style}"`} style="animation-delay:${seconds(from)}">${escape(text)}</tspan>`,
      );
      // What is overwritten goes away with all that is in it.
      const gone =
        until === undefined ? "" : ` class="gone" style="animation-delay:${seconds(until)}"`;
      return `<text${gone} x="${SIDE}" y="${TOP + row * LINE}">${inner.join("")}</text>`;
    });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${Math.round(width)} ${height}" width="${Math.round(width)}" height="${height}" role="img" aria-labelledby="t">
<title id="t">${escape(title)}</title>
<style>
text { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; fill: #ece8e2; white-space: pre; }
tspan { visibility: hidden; animation: show 0s forwards; }
.gone { animation: leave 0s forwards; }
.c1 { fill: #ff9d90; } .c2 { fill: #79d3a1; } .c3 { fill: #e8c27a; } .c4, .c6 { fill: #8fc1f2; }
.bold { font-weight: 700; } .dim { fill: #a8a097; }
@keyframes show { to { visibility: visible; } }
@keyframes leave { to { opacity: 0; } }
@media (prefers-reduced-motion: reduce) { tspan { animation: none; visibility: visible; } .gone { display: none; } }
</style>
<rect width="100%" height="100%" rx="8" fill="#211f1d" />
<g fill="#67615a"><circle cx="22" cy="18" r="5" /><circle cx="40" cy="18" r="5" /><circle cx="58" cy="18" r="5" /></g>
${texts.join("\n")}
</svg>
`;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)}s`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** The manual's tables of flags and options, made from what the program itself is made from. */
import { listMountOptions, type MountOption } from "@pannier/core";
import { type Flag, FLAGS, flagName } from "../../packages/cli/src/flags.ts";
import { COMMANDS } from "../../packages/cli/src/command-table.ts";
import { serversTable } from "./tested-with.ts";

/** Each between two comments with its name on a page. */
const TABLES: Readonly<Record<string, () => string>> = {
  flags: () =>
    table(
      ["flag", "value", "meaning", "default"],
      Object.entries<Flag>(FLAGS).map(([name, flag]) => [
        `\`--${flagName(name)}\``,
        valueOf(flag),
        `${usersOf(name)}${meaningOf(flag)}`,
        standardOf(flag),
      ]),
    ),
  mount: () =>
    table(
      ["key", "value", "meaning", "default"],
      listMountOptions().map(([name, option]) => [
        `\`${name}\``,
        valueOf(option),
        meaningOf(option),
        standardOf(option),
      ]),
    ),
  servers: serversTable,
};

/** The page with its tables written anew. */
export function withTables(text: string): string {
  return text.replaceAll(
    /(<!-- table: (\w+), written by npm run docs:tables -->\n)[^]*?(<!-- end of table -->)/g,
    (_, start: string, name: string, end: string) => `${start}\n${TABLES[name]?.()}\n${end}`,
  );
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => "---"), ...rows];
  return lines.map((cells) => `| ${cells.join(" | ")} |\n`).join("");
}

function valueOf({ placeholder, values }: MountOption): string {
  if (values !== undefined) return values.map((value) => `\`${value}\``).join(", ");
  return placeholder === undefined ? "" : `\`${placeholder.replace("|", " or ")}\``;
}

function meaningOf({ description, repeatable, concept }: MountOption): string {
  const more = repeatable === true ? "; may be given several times" : "";
  const link = concept === undefined ? "" : ` ([more](concepts.md#${concept}))`;
  return `${description}${more}${link}`;
}

function standardOf({ default: standard, otherwise = "" }: MountOption): string {
  return standard === undefined ? otherwise : `\`${standard}\``;
}

/** Where few commands have a flag, it is told which. */
function usersOf(name: string): string {
  const users = COMMANDS.filter(({ flags }) => flags.some((flag) => flag === name));
  return users.length > 3 ? "" : `${users.map((command) => `\`${command.name}\``).join(", ")}: `;
}

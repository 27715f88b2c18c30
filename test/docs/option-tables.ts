/** The manual's tables of flags and options, made from what the program itself is made from. */
import { listMountOptions, type MountOption } from "@pannier/core";
import { configJsonSchema } from "../../packages/daemon/src/config/schema.ts";
import { type Flag, FLAGS, flagName } from "../../packages/cli/src/flags.ts";
import { COMMANDS } from "../../packages/cli/src/command-table.ts";
import { anchorOf } from "../../apps/site/src/pages.ts";
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
  schema: () => schemaSections(configJsonSchema()),
};

/** The page with its tables written again. */
export function withTables(text: string): string {
  return text.replaceAll(
    /(<!-- table: (\w+), written by npm run docs:tables -->\n)[^]*?(<!-- end of table -->)/g,
    (_, start: string, name: string, end: string) => `${start}\n${TABLES[name]?.()}\n${end}`,
  );
}

interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly enum?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly additionalProperties?: boolean | Schema;
}

/** A section for each mapping of the configuration file, the outer ones first. */
function schemaSections(root: Schema): string {
  const sections: string[] = [];
  const seen = new Set<string>();
  const queue: { path: string; schema: Schema }[] = [{ path: "", schema: root }];
  for (const { path, schema } of queue) {
    const mappings = alternatives(schema).filter(({ properties }) => properties !== undefined);
    const tables = mappings.map(({ properties = {}, required = [] }) =>
      table(
        ["key", "value", "meaning", "default"],
        Object.entries(properties).map(([key, value]) => {
          const below = alternatives(value).some((each) => each.properties !== undefined);
          // Credentials are the same wherever they are.
          const there = key === "credentials" ? key : pathOf(path, key, value);
          if (below && !seen.has(there)) {
            seen.add(there);
            queue.push({ path: there, schema: value });
          }
          const name = below ? `[\`${key}\`](#${anchorOf(there)})` : `\`${key}\``;
          return [name, typeOf(value), sentences(value, required.includes(key)), defaultOf(value)];
        }),
      ),
    );
    const title = path === "" ? "Top level" : `\`${path}\``;
    sections.push(`## ${title}\n\n${[...new Set(tables)].join("\nOr:\n\n")}`);
  }
  return sections.join("\n");
}

/** `mounts[].sources[]` */
function pathOf(path: string, key: string, value: Schema): string {
  const list = [value, ...(value.anyOf ?? [])].some(({ type }) => type === "array");
  return `${path}${path === "" ? "" : "."}${key}${list ? "[]" : ""}`;
}

function alternatives(schema: Schema): readonly Schema[] {
  if (schema.anyOf !== undefined) return schema.anyOf.flatMap(alternatives);
  return schema.items === undefined ? [schema] : alternatives(schema.items);
}

function typeOf(schema: Schema): string {
  const { type, anyOf, items, properties, additionalProperties } = schema;
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${value}\``).join(", ");
  if (anyOf !== undefined)
    return [...new Set(anyOf.map(typeOf))]
      .filter((each) => each !== "`true`, `false`")
      .join(" or ");
  if (items !== undefined) return `list of ${typeOf(items).replace(/^(string|mapping)/, "$1s")}`;
  if (properties === undefined && typeof additionalProperties === "object")
    return "names and values";
  if (type === "object") return "mapping";
  return [type].flat().join(" or ");
}

/** Without the default, which has a column of its own. */
function sentences({ description = "" }: Schema, required: boolean): string {
  const text = description.replace(DEFAULT, "");
  return required ? `**Required.** ${text}` : text;
}

function defaultOf({ description = "" }: Schema): string {
  return DEFAULT.exec(description)?.[1] ?? "";
}

const DEFAULT = / ?\bDefault:? (.*?)\.(?= Relative|$)/;

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
  const link =
    concept === undefined ? "" : ` ([${concept.replaceAll("-", " ")}](concepts.md#${concept}))`;
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

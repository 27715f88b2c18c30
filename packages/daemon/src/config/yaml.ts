/** From the text of a configuration file to plain data, with the place of each part kept for messages. */
import { isMap, isScalar, LineCounter, parseDocument, visit } from "yaml";

type Path = readonly PropertyKey[];

/** Where a part is, as `line 3, column 5`; `key`: the key itself, not its value. */
export type Place = (path: Path, key?: string) => string;

interface Parsed {
  /** `undefined` where there are problems. */
  readonly data: unknown;
  readonly place: Place;
  /** What is wrong with the text as YAML, and variables that are not set. */
  readonly problems: readonly string[];
}

/** Every scalar is text: `no`, `1.10` and `0644` are what was written, and the schema reads numbers from texts. */
export function parseYaml(text: string, env: Readonly<Record<string, string | undefined>>): Parsed {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    schema: "failsafe",
    lineCounter: lines,
    prettyErrors: false,
  });
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `line ${line}, column ${col}`;
  };
  const problems = [...document.errors, ...document.warnings].map(
    ({ pos, message }) => `${at(pos[0])}: ${message}`,
  );
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value !== "string") return;
      node.value = substitute(node.value, env, (name) =>
        problems.push(
          `${at(node.range?.[0] ?? 0)}: the variable ${JSON.stringify(name)} is not set: set it, or write $\${ for a plain \${`,
        ),
      );
    },
  });
  let data: unknown;
  try {
    if (problems.length === 0) data = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    problems.push((error as Error).message);
  }
  return {
    data,
    problems,
    place(path, key) {
      // The innermost part that is there: what is missing has no place of its own.
      for (let length = path.length; length >= 0; length--) {
        const node = document.getIn(path.slice(0, length), true) as
          | { readonly range?: readonly [number, number, number] }
          | undefined;
        const name = length === path.length ? key : path[length];
        const pair = isMap(node)
          ? node.items.find((item) => isScalar(item.key) && item.key.value === name)
          : undefined;
        const offset = (pair?.key as typeof node)?.range?.[0] ?? node?.range?.[0];
        if (offset !== undefined) return at(offset);
      }
      return at(0);
    },
  };
}

/** What can be made of a text with mistakes. A variable that is not set stays as it is written. @throws where it is none of YAML's */
export function readLeniently(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
): unknown {
  const document = parseDocument(text, { schema: "failsafe", prettyErrors: false });
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value !== "string") return;
      node.value = node.value.replace(
        /\$\{([^}]*)\}/g,
        (match, name: string) => env[name] ?? match,
      );
    },
  });
  return document.toJS({ maxAliasCount: 100 });
}

/** `${NAME}` is the variable's value, `$${` a plain `${`. Values are not looked through again: they cannot bring in YAML, nor other variables. */
function substitute(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
  onMissing: (name: string) => void,
): string {
  return text.replace(/\$\$\{|\$\{([^}]*)\}/g, (match, name: string | undefined) => {
    if (name === undefined) return match === "$${" ? "${" : match;
    const value = env[name];
    if (value === undefined) onMissing(name);
    return value ?? match;
  });
}

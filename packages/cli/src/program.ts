/** Reading a command line by the table of commands, and their help. */
import { nearest, UsageError } from "@pannier/core";
import { Command, CommanderError, Option } from "commander";
import { COMMANDS, type CommandSpec } from "./command-table.ts";
import type { Environment } from "./environment.ts";
import { settingsFromEnvironment } from "./environment.ts";
import {
  describeFlag,
  type Flag,
  FLAGS,
  flagName,
  type FlagName,
  parseFlag,
  type Settings,
} from "./flags.ts";
import type { Output } from "./process-context.ts";

export interface CommandLine {
  readonly spec: CommandSpec;
  readonly args: readonly string[];
  readonly settings: Settings;
  /** Of the program. */
  readonly version: string;
}

/**
 * Reads a command line; `undefined` where it only asked for help, which is then written.
 *
 * @throws UsageError
 */
export function parseCommandLine(
  argv: readonly string[],
  env: Environment,
  version: string,
  stdout: Output,
): CommandLine | undefined {
  let parsed: CommandLine | undefined;
  const program = new Command("pannier")
    .description(
      "Keeps a directory in sync with a source (a git repository, a bucket, a web server, a directory), and publishes each revision atomically.",
    )
    .usage("COMMAND [FLAGS] [ARGUMENTS]")
    .version(version)
    .helpCommand("help [COMMAND]", "show the help of a command")
    .exitOverride()
    .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: () => {} })
    .configureHelp({ subcommandTerm: (command) => command.name(), sortOptions: false })
    .addHelpText(
      "after",
      "\nEvery flag is also an environment variable: --max-bytes is PANNIER_MAX_BYTES.\nCredentials: PANNIER_USERNAME, PANNIER_PASSWORD_FILE, PANNIER_TOKEN_FILE, PANNIER_SSH_KEY_FILE, PANNIER_CA_FILE.",
    );
  // Without a command: what somebody needs who types it for the first time.
  const words = argv.length === 0 ? ["help"] : argv;
  for (const spec of COMMANDS) {
    // Those of a command that is not named would only take time to make.
    const flags = words.includes(spec.name) ? spec.flags : [];
    addCommand(program, spec, flags, (args, given) => {
      if (args.length > spec.most)
        throw new UsageError(
          `"${spec.name}" takes ${spec.most === 0 ? "no argument" : spec.most === 1 ? "one argument" : `${spec.most} arguments`}, not ${args.length}`,
          `its form is: pannier ${spec.name} ${spec.arguments}`,
        );
      if (spec.publishes === true) refuseDryRun(env, spec);
      parsed = {
        spec,
        args,
        version,
        settings: { ...settingsFromEnvironment(env, spec.flags, given), ...given },
      };
    });
  }
  try {
    checkHelp(words);
    program.parse(words, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    throw toUsageError(error);
  }
  return parsed;
}

/** Commander knows no better than to print the whole help, with an error's exit code. @throws UsageError */
function checkHelp([first, name]: readonly string[]): void {
  const names = COMMANDS.map((command) => command.name);
  if (first !== "help" || name === undefined || [...names, "help"].includes(name)) return;
  if (name.startsWith("-")) return;
  const near = nearest(name, names);
  throw new UsageError(
    `unknown command "${name}"`,
    near === undefined ? `the commands are ${names.join(", ")}` : `did you mean ${near}?`,
  );
}

/** Of a flag the command line says that it is not known here; of a variable nobody would. */
function refuseDryRun(env: Environment, { name }: CommandSpec): void {
  if (settingsFromEnvironment(env, ["dryRun"], {}).dryRun === true)
    throw new UsageError(
      `PANNIER_DRY_RUN is set, and "${name}" has no dry run`,
      "unset it, or see what would be done with plan",
    );
}

function addCommand(
  program: Command,
  spec: CommandSpec,
  flags: readonly FlagName[],
  action: (args: string[], given: Settings) => void,
): void {
  const command = program
    .command(`${spec.name} [arguments...]`)
    .summary(spec.summary)
    .description(
      `${spec.summary.charAt(0).toUpperCase()}${spec.summary.slice(1)}.${spec.details === undefined ? "" : `\n\n${spec.details}`}`,
    )
    .usage(["[FLAGS]", spec.arguments].join(" ").trim())
    .addHelpText("after", `\nExamples:\n${spec.examples.map((line) => `  ${line}\n`).join("")}`)
    .configureHelp({ visibleArguments: () => [], sortOptions: false })
    .action((args: string[], given: Settings) => action(args, given));
  for (const name of flags) command.addOption(makeOption(name));
}

function makeOption(name: FlagName): Option {
  const flag: Flag = FLAGS[name];
  const form = `--${flagName(name)}`;
  const description = describeFlag(flag);
  if (flag.placeholder === undefined) return new Option(form, description);
  return new Option(`${form} <${flag.placeholder}>`, description).argParser((text, before) => {
    const value = parseFlag(form, flag, text);
    return flag.repeatable === true ? [...((before as unknown[] | undefined) ?? []), value] : value;
  });
}

/** Commander compares the whole of `--flag=value`; only the name can be a slip. */
function nearestFlag(message: string): string | undefined {
  const name = /unknown option '--([^=']+)='?/.exec(message)?.[1];
  const flag = name === undefined ? undefined : nearest(name, Object.keys(FLAGS).map(flagName));
  return flag === undefined ? undefined : `--${flag}`;
}

/** Commander's complaints, in our form. */
function toUsageError(error: CommanderError): UsageError {
  const [first = "", ...rest] = error.message.replace(/^error: /, "").split("\n");
  const near = /\(Did you mean (.*)\?\)/.exec(rest.join(" "))?.[1] ?? nearestFlag(first);
  return new UsageError(
    first.replaceAll("'", '"').replace(/ <.*> argument missing/, " needs a value"),
    near === undefined ? "see pannier help" : `did you mean ${near}?`,
    { cause: error },
  );
}

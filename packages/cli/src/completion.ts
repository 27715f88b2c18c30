/** Scripts by which shells complete the command line, made from the table of commands and that of flags. */
import { describeFlag, type Flag, FLAGS, flagName, type FlagName } from "./flags.ts";
import { COMMANDS } from "./command-table.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

export function completionScript(shell: Shell): string {
  return { bash, zsh, fish }[shell]();
}

const flagOf = (name: FlagName): Flag => FLAGS[name];
const used = [...new Set(COMMANDS.flatMap(({ flags }) => flags))].toSorted();
const wordsAfter = (name: FlagName) => flagOf(name).values?.join(" ");

/** What https://www.gnu.org/software/bash/manual/html_node/Programmable-Completion.html says; needs no helpers of a distribution. */
function bash(): string {
  const values = used.filter((name) => wordsAfter(name) !== undefined);
  const taking = used.filter((name) => flagOf(name).placeholder !== undefined);
  return `# pannier completion bash > /etc/bash_completion.d/pannier
_pannier() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} command=\${COMP_WORDS[1]}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "${[...COMMANDS.map(({ name }) => name), "help"].join(" ")}" -- "$current"))
    return
  fi
  case $previous in
${values.map((name) => `    --${flagName(name)}) COMPREPLY=($(compgen -W "${wordsAfter(name)}" -- "$current")); return ;;`).join("\n")}
    ${taking
      .filter((name) => !values.includes(name))
      .map((name) => `--${flagName(name)}`)
      .join(" | ")}) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  case $command in
${COMMANDS.map(
  ({ name, flags }) =>
    `    ${name}) local flags="${flags.map((flag) => `--${flagName(flag)}`).join(" ")} --help" ;;`,
).join("\n")}
    help) local flags="${COMMANDS.map(({ name }) => name).join(" ")}" ;;
    *) return ;;
  esac
  if [[ $current == -* || $command == help ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$current"))
  elif [[ $command == completion ]]; then
    COMPREPLY=($(compgen -W "${SHELLS.join(" ")}" -- "$current"))
  else
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}
complete -o filenames -F _pannier pannier
`;
}

/** Text between single quotes, for zsh and fish. */
const quoted = (text: string) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** What zsh's specifications take for more than a letter. */
const plain = (text: string) => text.replaceAll(/[[\]:\\]/g, String.raw`\$&`);

const argumentsOf = (command: string) =>
  quoted(command === "completion" ? `*:shell:(${SHELLS.join(" ")})` : "*:file:_files");

/** One flag, as `_arguments` takes it. */
function zshFlag(name: FlagName): string {
  const { placeholder, repeatable } = flagOf(name);
  const values = wordsAfter(name);
  const value =
    placeholder === undefined
      ? ""
      : `:${plain(placeholder)}:${values === undefined ? "_files" : `(${values})`}`;
  return quoted(
    `${repeatable === true ? "*" : ""}--${flagName(name)}[${plain(describeFlag(flagOf(name)))}]${value}`,
  );
}

/** https://zsh.sourceforge.io/Doc/Release/Completion-System.html, `_arguments` and `_describe`. */
function zsh(): string {
  return `#compdef pannier
# pannier completion zsh > "\${fpath[1]}/_pannier"
_pannier() {
  if ((CURRENT == 2)); then
    local -a commands=(
${COMMANDS.map(({ name, summary }) => `      ${quoted(`${name}:${plain(summary)}`)}`).join("\n")}
      'help:show the help of a command'
    )
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
${COMMANDS.map(
  ({ name, flags }) =>
    `    ${name}) _arguments ${[...flags.map(zshFlag), "'--help[show the help]'", argumentsOf(name)].join(" ")} ;;`,
).join("\n")}
    help) _arguments '*:command:(${COMMANDS.map(({ name }) => name).join(" ")})' ;;
  esac
}
if [[ $funcstack[1] == _pannier ]]; then _pannier "$@"; else compdef _pannier pannier; fi
`;
}

/** https://fishshell.com/docs/current/cmds/complete.html */
function fish(): string {
  const lines = [
    "# pannier completion fish > ~/.config/fish/completions/pannier.fish",
    "complete -c pannier -n __fish_use_subcommand -f",
  ];
  for (const { name, summary } of COMMANDS)
    lines.push(`complete -c pannier -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`);
  for (const name of used) {
    const commands = COMMANDS.filter(({ flags }) => flags.includes(name)).map((one) => one.name);
    const { placeholder } = flagOf(name);
    const values = wordsAfter(name);
    const value =
      placeholder === undefined ? "" : values === undefined ? " -r" : ` -x -a ${quoted(values)}`;
    lines.push(
      `complete -c pannier -n ${quoted(`__fish_seen_subcommand_from ${commands.join(" ")}`)} -l ${flagName(name)} -d ${quoted(describeFlag(flagOf(name)))}${value}`,
    );
  }
  lines.push(
    `complete -c pannier -n '__fish_seen_subcommand_from completion' -f -a ${quoted(SHELLS.join(" "))}`,
    `complete -c pannier -n '__fish_seen_subcommand_from help' -f -a ${quoted(COMMANDS.map(({ name }) => name).join(" "))}`,
  );
  return `${lines.join("\n")}\n`;
}

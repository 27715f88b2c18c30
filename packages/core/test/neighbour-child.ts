/** Follows a source that changes with each look, in a target that another user may write to. Arguments: target. Tells each event in a line. */
import { follow } from "../src/index.ts";
import { memorySource } from "./memory-source.ts";

const [target] = process.argv.slice(2) as [string];
const source = memorySource();
let number = 0;
source.beforeList = () => {
  source.content = { "d/same": "1", number: String(++number) };
};
for await (const event of follow({ sources: [source], target, period: 50, keep: 1 })) {
  const { error } = event as { readonly error?: Error };
  console.log(event.type, error?.name ?? "", error?.message ?? "");
}

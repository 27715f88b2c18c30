/** `npm start -w examples/embedding -- SOURCE TARGET`: serves SOURCE's rules.json on http://127.0.0.1:8081/. */
import { fileAdapter } from "@pannier/adapter-file";
import { gitAdapter } from "@pannier/adapter-git";
import { httpAdapter } from "@pannier/adapter-http";
import { type Adapter, resolveSource } from "@pannier/core";
import { startService } from "./service.ts";

const [source = "./rules", target = "./rules-target"] = process.argv.slice(2);
const stopping = new AbortController();
process.once("SIGINT", () => stopping.abort());
process.once("SIGTERM", () => stopping.abort());

const adapters = [fileAdapter, gitAdapter, httpAdapter] as unknown as Adapter[];
const { server, done } = startService(resolveSource(source, adapters), target, stopping.signal);
server.listen(8081, "127.0.0.1", () => console.log("http://127.0.0.1:8081/"));
await done;
server.close();

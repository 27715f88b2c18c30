/** `npm start -w examples/embedding -- SOURCE TARGET`: serves SOURCE's rules.json on http://127.0.0.1:8081/. */
import { fileAdapter } from "@pannier/adapter-file";
import { gitAdapter } from "@pannier/adapter-git";
import { httpAdapter } from "@pannier/adapter-http";
import { type Adapter, resolveSource } from "@pannier/core";
import { createService } from "./service.ts";

const [source = "./rules", target = "./rules-target"] = process.argv.slice(2);
const adapters = [fileAdapter, gitAdapter, httpAdapter] as unknown as Adapter[];
const service = createService(resolveSource(source, adapters), target);
process.once("SIGINT", () => void service.close());
process.once("SIGTERM", () => void service.close());
console.log(await service.listen({ port: 8081, host: "127.0.0.1" }));

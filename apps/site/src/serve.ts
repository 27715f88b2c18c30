/** `npm run docs`: serves the site that was built, to this machine. */
import { fileURLToPath } from "node:url";
import { listen, makeServer } from "../../demo/src/static-server.ts";

const server = makeServer(fileURLToPath(new URL("../dist", import.meta.url)));
const port = await listen(server, Number(process.env["PORT"] ?? 4173));
process.stdout.write(`http://127.0.0.1:${port}/\n`);

import { type Ground, listening, run } from "./process.ts";

export interface AzureServer {
  readonly port: number;
  /** As the option of that name takes it. */
  readonly endpoint: string;
  /** The emulator's account, which is the same everywhere. */
  readonly account: string;
  readonly key: string;
}

const ACCOUNT = "devstoreaccount1";
const KEY =
  "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/** Azurite, with what it stores in memory. */
export async function startAzure({ children }: Ground, program: string): Promise<AzureServer> {
  const { child, ports } = await listening("azurite-blob", 1, async ([port]) =>
    run(program, [
      "--blobHost",
      "127.0.0.1",
      "--blobPort",
      String(port),
      "--inMemoryPersistence",
      "--silent",
      "--skipApiVersionCheck",
      "--disableTelemetry",
    ]),
  );
  children.push(child);
  const port = ports[0] as number;
  return { port, endpoint: `http://127.0.0.1:${port}/${ACCOUNT}`, account: ACCOUNT, key: KEY };
}

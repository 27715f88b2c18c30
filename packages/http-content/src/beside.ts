/** What lies beside a URL: the same with an ending behind its path. */
import { type HttpClient, plainBody } from "@pannier/http-client";
import type { ReadBeside } from "@pannier/signatures";

export function besideUrl(client: HttpClient, url: URL, signal: AbortSignal): ReadBeside {
  return async (ending, most) => {
    const beside = new URL(url);
    beside.pathname += ending;
    const response = await client.request(beside, {
      operation: "signature",
      signal,
      expect: [200, 403, 404, 410],
    });
    if (response.status !== 200) {
      await response.discard();
      return undefined;
    }
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of await plainBody(response)) {
      chunks.push(Buffer.from(chunk));
      size += chunk.byteLength;
      if (size >= most) break;
    }
    return Buffer.concat(chunks);
  };
}

/** Writes into a real server by the API, which the adapter never does. */
import type { ObjectServer } from "../../../test/support/stores.ts";

export interface ApiClient extends ObjectServer {
  put(
    bucket: string,
    key: string,
    content: Uint8Array | string,
    contentEncoding?: string,
  ): Promise<void>;
}

export function apiClient(endpoint: string): ApiClient {
  const send = async (path: string, init: RequestInit) => {
    const response = await fetch(`${endpoint}${path}`, init);
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`${init.method} ${path}: ${response.status}`);
  };
  return {
    port: Number(new URL(endpoint).port),
    createBucket: (bucket) =>
      send("/storage/v1/b", { method: "POST", body: JSON.stringify({ name: bucket }) }),
    put: (bucket, key, content, contentEncoding) => {
      const query = new URLSearchParams({ uploadType: "media", name: key });
      if (contentEncoding !== undefined) query.set("contentEncoding", contentEncoding);
      const body = typeof content === "string" ? content : new Uint8Array(content);
      return send(`/upload/storage/v1/b/${bucket}/o?${query}`, { method: "POST", body });
    },
    remove: (bucket, key) =>
      send(`/storage/v1/b/${bucket}/o/${encodeURIComponent(key)}`, { method: "DELETE" }),
  };
}

export { readBytes, readText } from "./body.ts";
export {
  createHttpClient,
  type HttpClient,
  type HttpClientOptions,
  type HttpRequest,
  type HttpResponse,
} from "./client.ts";
export { type Authorize, makeAuthorize, type SignIn } from "./credentials.ts";
export { connectionError, parseRetryAfter, statusError } from "./errors.ts";
export { type Environment, proxyFor } from "./proxy.ts";

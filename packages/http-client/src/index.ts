export { contentOf, readBytes, readText } from "./body.ts";
export { plainBody, storedBody } from "./coding.ts";
export {
  createHttpClient,
  type HttpClient,
  type HttpClientOptions,
  type HttpRequest,
} from "./client.ts";
export { type Authorize, makeAuthorize, readNetrc, type SignIn } from "./credentials.ts";
export { readTlsFiles, type TlsTexts } from "./dispatcher.ts";
export { connectionError, parseRetryAfter, statusError } from "./errors.ts";
export { type FolderQuestion, type FolderUpload, httpFolder } from "./folder.ts";
export { readJson } from "./json.ts";
export { isAbove, lossyName, namesBelow, namesOf, UnreadableName } from "./names.ts";
export { partOf } from "./part-of.ts";
export { rangeHeader, rangeMismatch } from "./parts.ts";
export { type Environment, proxyFor } from "./proxy.ts";
export {
  ifNoneMatchHeaders,
  inspect,
  inspectByHead,
  isNothing,
  validatorOf,
  readVersion,
  resourceOf,
  settledValidator,
} from "./resource.ts";
export { ifMatchHeaders, type Validator, sameVersion } from "./conditional.ts";
export {
  ifMatch,
  isTimeFingerprint,
  serverTime,
  tagIn,
  timeFingerprint,
  versionOf,
  versionMismatch,
} from "./validators.ts";
export type { HttpResponse } from "./response.ts";
export { readXml } from "./xml.ts";

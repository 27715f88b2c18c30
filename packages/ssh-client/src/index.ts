export { type Failure, sshError } from "./errors.ts";
export { readHostKeys, type Trust } from "./host-keys.ts";
export { authMethods, usernameOf } from "./sign-in.ts";

/** What is used of Google's SDK. By itself, so that it is loaded when a bucket is opened, and a bundle holds no more of it. */
export { Storage } from "@google-cloud/storage";
export { GoogleAuth } from "google-auth-library";

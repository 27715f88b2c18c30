/** What is used of Azure's SDK. By itself, so that it is loaded when a container is opened, and a bundle holds no more of it. */
export { createHttpHeaders, createPipelineRequest } from "@azure/core-rest-pipeline";
export {
  AnonymousCredential,
  BlobServiceClient,
  ContainerClient,
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  SASProtocol,
  StorageSharedKeyCredential,
} from "@azure/storage-blob";
export { storageSharedKeyCredentialPolicy } from "@azure/storage-common";

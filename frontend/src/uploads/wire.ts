// A chunk on its way to the server: XMLHttpRequest, as only that tells how much of it has left.
import { call, parseProblem, readCsrfToken, unreachable } from "../api";
import type { Upload, Wire } from "./transfer";

export const wire: Wire = {
  look: (id) => call<Upload>("GET", `/uploads/${encodeURIComponent(id)}`),
  send: sendChunk,
  wait: (seconds, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      });
    }),
};

function sendChunk(
  upload: Upload,
  offset: number,
  chunk: Blob,
  onProgress: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Upload> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PATCH", `/api/v1/uploads/${encodeURIComponent(upload.id)}`);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("Upload-Offset", String(offset));
    request.setRequestHeader("X-CSRF-Token", readCsrfToken());
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onload = () => {
      if (request.status === 200) resolve(JSON.parse(request.responseText) as Upload);
      else reject(parseProblem(request.status, request.responseText));
    };
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(unreachable());
    signal.addEventListener("abort", () => request.abort());
    request.send(chunk);
  });
}

// Keeps the site in the browser, so that it opens without a network. The export writes the line before
// this one: const BUILD = "...", HASHES = {path: SHA-256 of the file}.
const PREFIX = `earful ${self.registration.scope} `;
const CACHE = PREFIX + BUILD;

// All files of one build or none: a page never gets files of two. If one is not as exported, since the
// upload of a build was cut off or still goes on, the earlier build stays; the next visit tries again.
self.addEventListener("install", (event) => event.waitUntil(keep()));

async function keep() {
  const files = await Promise.all(Object.entries(HASHES).map(download));
  const cache = await caches.open(CACHE);
  await Promise.all(files.map(([name, response]) => cache.put(name, response)));
}

async function download([name, hash]) {
  const response = await fetch(name, { cache: "no-cache" });
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await response.clone().arrayBuffer()));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== hash) throw new Error(`${name} is not as exported (SHA-256 ${found}); upload the folder again`);
  return [name, response];
}

self.addEventListener("activate", (event) => event.waitUntil(forgetOthers()));

async function forgetOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)));
}

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && event.request.url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(CACHE), address = request.url.replace(/[?#].*$/, "");
  const isPage = address === new URL("index.html", self.registration.scope).href;
  return (await cache.match(isPage ? "./" : address)) ?? fetch(request);
}
